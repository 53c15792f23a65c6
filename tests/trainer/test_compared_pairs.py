"""Compared pairs, read by the trainer and from files: votes, sources, rows without a label."""

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.trainer import asking, tiny
from tests.trainer.asking import pairs
from tests.trainer.test_standalone_staging import manifest, pairs_in, refused, shard, staged
from worker.training.standalone.request import TrainingRequest
from worker.training.train import train

Ask = Callable[..., TrainingRequest]
PROMPT = "Where is my parcel?"


@pytest.fixture
def ask(tmp_path: Path, base: Path) -> Ask:
    return lambda rows=None, **options: asking.request(tmp_path, base, rows, **options)


def compared(chosen: str, rejected: str, **votes: Any) -> dict[str, Any]:
    return {"prompt": PROMPT, "chosen": chosen, "rejected": rejected, **votes}


def answers(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns `rows` with enough further pairs to train on."""
    return [*rows, *pairs(8)]


def first_pairs(work: Path, count: int) -> list[tuple[str, str]]:
    return pairs_in(work)[:count]


def test_votes_of_a_file_are_kept_with_their_pairs(ask):
    rows = [compared(" yes", " no", votes_chosen=5, votes_rejected=2, votes_even=1), compared(" may", " must")]

    work = staged(ask(answers(rows), objective="dpo", holdout=0))

    assert first_pairs(work, 2) == [(" yes", " no"), (" may", " must")]
    counted = [
        (pair["source"], pair["votes_chosen"], pair["votes_rejected"], pair["votes_even"])
        for pair in shard(work, "pairs.parquet")
    ]
    assert counted[:2] == [("compared", 5, 2, 1), ("compared", 1, 0, 0)]


def test_rows_about_the_same_two_answers_are_one_pair_in_the_direction_of_the_majority(ask):
    rows = [
        compared(" yes", " no"),
        compared(" no", " yes"),
        compared(" no", " yes", votes_chosen=3, votes_rejected=1),
        compared(" up", " down"),
        compared(" down", " up"),
    ]

    work = staged(ask(answers(rows), objective="dpo", holdout=0))

    assert first_pairs(work, 2) == [(" no", " yes"), (" thanks 0 times", " wait 0 days")]
    [first, *_] = shard(work, "pairs.parquet")
    assert (first["votes_chosen"], first["votes_rejected"]) == (4, 2)
    assert manifest(work)["drops"] == {"as many votes each way": 2}


def test_pairs_derived_from_labels_are_never_of_answers_that_were_compared(ask):
    rows: list[dict[str, Any]] = [
        compared(" yes", " no"),
        {"prompt": PROMPT, "completion": " no", "label": True},
        {"prompt": PROMPT, "completion": " yes", "label": False},
        {"prompt": "When?", "completion": " soon", "label": True},
        {"prompt": "When?", "completion": " late", "label": False},
    ]

    work = staged(ask(answers(rows), objective="dpo", pairs="derived", holdout=0))

    pairs_of_snapshot = list(zip(pairs_in(work), shard(work, "pairs.parquet"), strict=True))
    assert [two for two, pair in pairs_of_snapshot if pair["source"] == "derived"] == [(" soon", " late")]
    assert (" yes", " no") in pairs_in(work)


@pytest.mark.parametrize(
    ("votes", "message"),
    [
        ({"votes_chosen": -1}, r"line 1: votes_chosen is -1: write a whole number of 0 or more"),
        ({"votes_chosen": 1.5}, r"votes_chosen is 1.5: write a whole number"),
        ({"votes_rejected": "many"}, r'votes_rejected is "many": write a whole number'),
        ({"votes_chosen": 0, "votes_rejected": 0}, r"are all 0: give the votes, or leave the columns out"),
    ],
)
def test_votes_that_are_no_counts_are_refused(ask, votes, message):
    assert re.search(message, refused(ask(answers([compared(" yes", " no", **votes)]), objective="dpo")))


def test_votes_beside_a_completion_are_refused(ask):
    row = {"prompt": "Hi", "completion": " yes", "label": True, "votes_chosen": 2}

    assert "votes belong to rows with chosen and rejected" in refused(ask([row]))


def stage_compared(workdir: Path, base: Path, **recipe: Any) -> Path:
    """Stages a snapshot like the service: labelled rows, one row for pairs alone, pairs with their sources."""
    rows = tiny.paired_rows()
    tiny.stage(workdir, base, rows, objective="dpo", **recipe)
    folder = workdir / "snapshot"
    middle = {**rows[0], "completion": " perhaps", "label": None}
    table = pa.Table.from_pylist(
        [{**row, "position": 1000, "completion_id": "middle"} for row in shard_like(folder, [middle])],
        schema=pq.read_schema(folder / "train-0.parquet"),
    )
    pq.write_table(table, folder / "train-text-for-pairs.parquet")
    labelled = pq.read_table(folder / "train-0.parquet").to_pylist()
    up, down = (
        next(index for index, row in enumerate(labelled) if row["prompt"] == rows[0]["prompt"] and row["label"] is kind)
        for kind in (True, False)
    )
    counts = {"votes_chosen": 1, "votes_rejected": 0, "votes_even": 0}
    first, alone = "train-0.parquet", "train-text-for-pairs.parquet"
    derived = pq.read_table(folder / "pairs.parquet").to_pylist()
    listed = [
        {"shard": first, "chosen": up, "rejected_shard": alone, "rejected": 0, "source": "compared", **counts},
        {"shard": alone, "chosen": 0, "rejected_shard": first, "rejected": down, "source": "edit", **counts},
        *({**pair, "rejected_shard": first, "source": "derived", **counts} for pair in derived),
    ]
    pq.write_table(pa.Table.from_pylist(listed), folder / "pairs.parquet")
    document = json.loads((folder / "manifest.json").read_text())
    entry = {"path": alone, "split": "train", "format": "text", "rows": 1, "sha256": sha256(folder / alone)}
    document["pairs"] = {"path": "pairs.parquet", "sha256": sha256(folder / "pairs.parquet"), "shards": [entry]}
    (folder / "manifest.json").write_text(json.dumps(document))
    return workdir


def shard_like(folder: Path, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns `rows` with the missing columns of the shard."""
    [example] = pq.read_table(folder / "train-0.parquet").slice(0, 1).to_pylist()
    return [{**example, **row} for row in rows]


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(("choice", "trained"), [("compared", 1), ("compared_and_edits", 2), ("derived", 13)])
def test_a_run_learns_from_the_pairs_of_the_sources_that_its_recipe_names(tmp_path, base, choice, trained):
    small = {"batch_size": 2, "micro_batch_size": 2, "epochs": 1}
    workdir = stage_compared(tmp_path / "w", base, pairs=choice, **small)

    train(workdir)

    assert tiny.document(workdir / "training.json")["pairs_trained"] == trained


def test_rows_for_pairs_alone_are_no_rows_to_an_objective_without_pairs(tmp_path, base):
    workdir = stage_compared(tmp_path / "w", base)
    recipe = tiny.document(workdir / "recipe.json")
    (workdir / "recipe.json").write_text(json.dumps({**recipe, "objective": "kto"}))

    train(workdir)

    assert tiny.document(workdir / "training.json")["rows_trained"] == len(tiny.paired_rows())


def test_a_snapshot_that_does_not_say_where_its_pairs_come_from_is_trained_on_with_all_of_them(tmp_path, base):
    workdir = tiny.stage(tmp_path / "w", base, tiny.paired_rows(), objective="dpo", epochs=1)

    train(workdir)

    assert tiny.document(workdir / "training.json")["pairs_trained"] == 11
