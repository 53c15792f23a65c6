"""TRL's lanes: `KTOTrainer.train()`, unchanged. A callback and methods that delegate report its events."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.train.configurations import Configuration
from benchmarks.train.lane import Lane
from benchmarks.train.ours import LEARNING_RATE, SEED
from benchmarks.train.rows import Chats, TextRow


def trl(
    folder: Path,
    base: Path,
    chats: Chats,
    configuration: Configuration,
    *,
    name: str,
    precompute: bool = False,
    by_length: bool = False,
    checkpointing: bool = False,
    max_length: int = 1024,
) -> Lane:
    """Returns TRL's lane, by default as installed: reference online, rows in the given order.

    precompute  computes the reference's log-probs before the first step
    by_length   sorts the rows by length
    """
    rows = sorted(chats.rows, key=lambda row: row.tokens) if by_length else list(chats.rows)
    losses: list[Tensor] = []
    os.environ.setdefault("TQDM_DISABLE", "1")  # TRL reads this when it precomputes

    def loop(lane: Lane) -> None:
        settings = _settings(folder, configuration, precompute=precompute, checkpointing=checkpointing)
        _trainer(lane, losses, base, rows, configuration, settings | {"max_length": max_length}).train()

    per_step = configuration.effort.rows_per_step
    lengths = [[row.tokens for row in rows[start : start + per_step]] for start in range(0, len(rows), per_step)]
    return Lane(name, loop, lambda: [float(loss) for loss in losses], lambda: lengths)


def _settings(folder: Path, configuration: Configuration, *, precompute: bool, checkpointing: bool) -> dict[str, Any]:
    effort = configuration.effort
    on_gpu = torch.cuda.is_available()
    low = configuration.precision == "bf16"
    return {
        "output_dir": str(folder), "use_cpu": not on_gpu, "bf16": low, "dataloader_pin_memory": on_gpu,
        "gradient_checkpointing": checkpointing, "report_to": "none", "save_strategy": "no", "disable_tqdm": True,
        "precompute_ref_log_probs": precompute, "learning_rate": LEARNING_RATE, "lr_scheduler_type": "constant",
        "per_device_train_batch_size": effort.rows_per_step, "num_train_epochs": 100, "seed": SEED,
        # With adapters, frozen weights have the precision of the computation, as ours do.
        "model_init_kwargs": {"dtype": "bfloat16" if low and configuration.method == "lora" else "float32"},
    }  # fmt: skip


def _trainer(
    lane: Lane,
    losses: list[Tensor],
    base: Path,
    rows: Sequence[TextRow],
    configuration: Configuration,
    settings: dict[str, Any],
) -> Any:
    import datasets
    from transformers import AutoTokenizer
    from transformers.trainer_callback import PrinterCallback, TrainerCallback
    from trl import KTOConfig, KTOTrainer

    datasets.disable_progress_bars()

    class Watched(KTOTrainer):  # type: ignore[misc]
        def _precompute_ref_logps(self, *arguments: Any, **more: Any) -> Any:
            lane.pause("loaded")
            logprobs = super()._precompute_ref_logps(*arguments, **more)
            lane.pause("reference")
            return logprobs

        def compute_ref_log_probs(self, *arguments: Any, **more: Any) -> Any:
            logprobs = super().compute_ref_log_probs(*arguments, **more)
            lane.pause("reference")
            return logprobs

        def compute_loss(self, *arguments: Any, **more: Any) -> Any:
            loss = super().compute_loss(*arguments, **more)
            losses.append(loss.detach())
            return loss

    class Steps(TrainerCallback):  # type: ignore[misc]
        def on_train_begin(self, *_arguments: Any, **_more: Any) -> None:
            if not settings["precompute_ref_log_probs"]:
                lane.pause("loaded")

        def on_step_end(self, *_arguments: Any, **_more: Any) -> None:
            lane.pause("step")

    adapter = {}
    if configuration.method == "lora":
        from thumbwheel.wire.recipe import Recipe

        from worker.training.models.lora import fresh_config

        adapter = {"peft_config": fresh_config(Recipe())}
    table = datasets.Dataset.from_list(
        [{"prompt": row.prompt, "completion": row.completion, "label": row.desirable} for row in rows]
    )
    trainer = Watched(
        model=str(base),
        args=KTOConfig(**settings),
        train_dataset=table,
        processing_class=AutoTokenizer.from_pretrained(base, local_files_only=True),
        **adapter,
    )
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(Steps())
    return trainer
