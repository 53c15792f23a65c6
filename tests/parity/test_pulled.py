"""The files of `thumbwheel snapshot pull` train TRL's KTOTrainer without a change."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from app.cli.snapshot_pull import Format, Split, convert
from tests import small_snapshot
from tests.trainer import tiny


@pytest.mark.parametrize("formats", [("text",), ("text", "chat")], ids=["texts", "chats and texts"])
@pytest.mark.parametrize("form", [Format.jsonl, Format.datasets])
def test_trls_trainer_takes_two_steps_on_it(tmp_path: Path, form: Format, formats: tuple[str, ...]) -> None:
    import datasets
    from transformers.trainer_callback import PrinterCallback
    from trl import KTOConfig, KTOTrainer

    small_snapshot.write(tmp_path / "files", formats)
    manifest = json.loads((tmp_path / "files" / "manifest.json").read_text())
    (tmp_path / "pulled").mkdir()
    convert(manifest, tmp_path / "files", tmp_path / "pulled", form, {Split.train: 8, Split.holdout: 4})

    datasets.disable_progress_bars()
    loaded: Any
    if form is Format.jsonl:
        files = {split: str(tmp_path / "pulled" / f"{split}.jsonl") for split in ("train", "holdout")}
        loaded = datasets.load_dataset("json", data_files=files, cache_dir=str(tmp_path / "cache"))
    else:
        loaded = datasets.load_from_disk(str(tmp_path / "pulled"))
    trainer = KTOTrainer(
        model=tiny.model(),
        ref_model=tiny.model(),
        args=KTOConfig(
            output_dir=str(tmp_path / "out"), use_cpu=True, bf16=False, gradient_checkpointing=False,
            report_to="none", save_strategy="no", disable_tqdm=True, max_steps=2, per_device_train_batch_size=4,
            max_length=64, logging_steps=1,
        ),
        train_dataset=loaded["train"],
        eval_dataset=loaded["holdout"],
        processing_class=tiny.tokenizer(chat="chat" in formats),
    )  # fmt: skip
    trainer.remove_callback(PrinterCallback)
    done = trainer.train()

    assert done.global_step == 2
    assert math.isfinite(done.training_loss)
    assert (len(trainer.train_dataset), len(trainer.eval_dataset)) == (8, 4)
    assert "weight" in loaded["train"].column_names
