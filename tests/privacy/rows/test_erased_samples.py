"""Samples of checkpoints do not survive the erasure of their prompts."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from app import artifacts, settings
from app.checkpoints.card import card
from app.checkpoints.samples import files
from app.database import transaction
from app.snapshots.redactions import service as redactions
from tests.checkpoints.rules.test_card import MANIFEST
from tests.desk import execute, finish, make_project, ready_to_finish
from tests.logged import store
from tests.privacy.rows.test_erasures import DESK, ask, thumb
from tests.privacy.rows.test_erasures import finish as finish_erasure
from tests.sample_rows import held_out, of_suite, replayed, written


@pytest.fixture(autouse=True)
def _project(database):
    make_project()


def feedback() -> None:
    """Stores one vote of each of forty actors, with the actor's name in the prompt."""
    kinds = ("up", "down")
    store(DESK, [
        thumb(
            f"actor {n:02}", f"c{n}", prompt=f"I am actor {n:02}: help!", completion=f"Yes, {n}.",
            signal={"kind": "thumbs", "value": kinds[n % 2]},
        )
        for n in range(40)
    ])  # fmt: skip


def held_out_prompts() -> list[str]:
    """Returns the held-out prompts of the only snapshot."""
    [(manifest,)] = execute("SELECT manifest FROM snapshots")
    shards = [shard for shard in manifest["shards"] if shard["split"] == "holdout"]
    return [row for shard in shards for row in pq.read_table(artifacts.path_of(shard["sha256"]))["prompt"].to_pylist()]


def registered(claimed, folder: Path) -> None:
    """Registers a checkpoint with samples for all held-out prompts and a suite, and with a card that shows some."""
    rows = of_suite("manners", 0, "Say please", ["Please", "No", "What"])
    for prompt in held_out_prompts():
        rows = [*held_out(prompt, [f"You said: {prompt}", "Fine", "Well"]), *rows]
    samples = written(folder / "samples.parquet", rows)
    (folder / "README.md").write_text(card(manifest_of(), files.sets_of(files.read(samples))))
    (folder / "weights").write_text("weights")
    named = {"adapter_model.safetensors": "weights", "README.md": "README.md", "samples.parquet": "samples.parquet"}
    finish(claimed, folder, files={name: folder / file for name, file in named.items()}, manifest=manifest_of())


def manifest_of() -> dict:
    samples = {"prompts": {"holdout": 1, "suites": 1}, "max_new_tokens": 8, "temperature": 1.0, "stopped_by": None}
    parts = ("candidate", "shipped", "ancestor", "against_shipped", "against_ancestor")
    return {**MANIFEST, "scores": {**MANIFEST["scores"], "samples": {**samples, **{part: {} for part in parts}}}}


def bytes_with(words: str) -> list[str]:
    """Returns the files of the artifact store that contain these words."""
    found = []
    for path in Path(settings.current().artifacts).rglob("*"):
        if path.is_file():
            raw = path.read_bytes()
            text = str(pq.read_table(path).to_pylist()) if raw[:4] == b"PAR1" else raw.decode("latin-1")
            found += [path.name] if words in text else []
    return found


def samples_left() -> list[str]:
    [(sha256,)] = execute("SELECT files ->> 'samples.parquet' FROM checkpoint_texts")
    table = files.read(Path(artifacts.path_of(sha256)))
    return [of["candidate"]["prompt"] for of in files.sets_of(table)]


@pytest.mark.trial
def test_an_erasure_removes_samples_and_card_lines_of_its_prompts_and_leaves_the_others(tmp_path):
    feedback()
    registered(ready_to_finish(tmp_path), tmp_path)
    prompts = held_out_prompts()
    erased, *others = sorted(prompts)
    actor = erased.removeprefix("I am ").removesuffix(": help!")
    assert len(bytes_with(actor)) >= 3  # the snapshot's shard, the samples, the card

    finish_erasure(ask(actor))

    assert bytes_with(actor) == []
    assert sorted(samples_left()) == sorted(f'"{prompt}"' for prompt in [*others, "Say please"])
    [(sha256,)] = execute("SELECT files ->> 'README.md' FROM checkpoint_texts")
    text = Path(artifacts.path_of(sha256)).read_text()
    assert others[0].removesuffix("!") in text
    assert "You said" in text

    # and a later erasure, which redacts the successor of the snapshot, reaches the checkpoint, too
    second = others[0].removeprefix("I am ").removesuffix(": help!")
    finish_erasure(ask(second))
    assert bytes_with(second) == []
    assert len(samples_left()) == len(prompts) - 1


def test_a_run_that_sampled_while_its_prompts_were_erased_registers_no_sample_of_them(tmp_path):
    feedback()
    claimed = ready_to_finish(tmp_path)
    prompts = held_out_prompts()
    rows = [row for prompt in prompts for row in held_out(prompt, [f"You said: {prompt}", "Fine", "Well"])]
    samples = written(tmp_path / "samples.parquet", rows)
    actor = prompts[0].removeprefix("I am ").removesuffix(": help!")
    finish_erasure(ask(actor))

    [(snapshot_id,)] = execute("SELECT snapshot_id FROM runs")
    (tmp_path / "weights").write_text("weights")
    finish(
        claimed,
        tmp_path,
        files={"adapter_model.safetensors": tmp_path / "weights", "samples.parquet": samples},
        manifest=manifest_of(),
    )
    with transaction() as session:
        redactions.redact_samples(session, snapshot_id)

    assert bytes_with(actor) == []
    assert len(samples_left()) == len(prompts) - 1


def test_a_replayed_answer_is_removed_with_its_row_also_if_its_prompt_was_trained_on(tmp_path):
    feedback()
    claimed = ready_to_finish(tmp_path)
    [(manifest,)] = execute("SELECT manifest FROM snapshots")
    staged = [
        (shard["split"], row)
        for shard in manifest["shards"]
        for row in pq.read_table(artifacts.path_of(shard["sha256"])).to_pylist()
    ]
    trained = [row for split, row in staged if split == "train"][:3]
    rows = of_suite("manners", 0, "Say please", ["Please", "No", "What"])
    for row in trained:
        replies = [f"You said: {row['prompt']}", "Fine", "Well"]
        given = {"completion_id": row["completion_id"], "liked": row["label"], "split": "train"}
        rows += replayed(row["prompt"], row["completion"], replies, **given)
    # one more answer to a prompt that stays, whose own row is gone
    rows += replayed(trained[1]["prompt"], "Nobody's row.", ["a", "b", "c"], completion_id="gone", split="train")
    samples = written(tmp_path / "samples.parquet", rows)
    (tmp_path / "weights").write_text("weights")
    files = {"adapter_model.safetensors": tmp_path / "weights", "samples.parquet": samples}
    finish(claimed, tmp_path, files=files, manifest=manifest_of())
    erased, *others = (row["prompt"] for row in trained)
    assert len(bytes_with(f"You said: {erased}")) == 1

    finish_erasure(ask(erased.removeprefix("I am ").removesuffix(": help!")))

    assert bytes_with(f"You said: {erased}") == []
    assert sorted(samples_left()) == sorted(f'"{prompt}"' for prompt in [*others, "Say please"])
