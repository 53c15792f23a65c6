"""Baselines that know nothing of the candidate, with which its scores are compared."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.statistics.bootstrap import Bootstrap, group_numbers
from tests.trainer import tiny
from worker.evaluation.dumb_readers import LEAST_OF_CLASS, dumb_readers
from worker.training.data.dropped import read_split
from worker.training.job import read_job
from worker.training.models.policy import load_tokens

READERS = ("bag_of_words", "length", "reference")


def row(number: int, *, label: bool, completion: str, prompt: Any = None) -> dict[str, Any]:
    return {
        "prompt": prompt or f"question {number}", "completion": completion, "label": label, "weight": 1.0,
        "completion_id": f"c{number}",
    }  # fmt: skip


def read_by(workdir: Path, base: Path, train: list[dict], holdout: list[dict], reference: Any = None) -> dict[str, Any]:
    """Returns the scorer's figures for constant rewards. `reference` is the reference's log-probs by row."""
    tiny.stage(workdir, base, train, holdout)
    job = read_job(workdir)
    read = read_split(job, "holdout", load_tokens(base), 128, 260)
    rows = read.rows
    number = [int(each.completion_id[1:]) for each in rows]
    own = np.array(
        [-len(each.completion) for each in rows] if reference is None else [reference[index] for index in number]
    )
    groups = group_numbers([each.prompt_key for each in rows])
    over = Bootstrap(groups, np.array([each.weight for each in rows]), 200, 0.95, 1)
    return dumb_readers(job, read, rows, np.zeros(len(rows)), own, over, "one class only")


def rows_of(count: int, seed: int, *, good: str, bad: str) -> list[dict[str, Any]]:
    """Returns rows of random words, half desirable with the word `good` and half undesirable with `bad`."""
    rng = random.Random(seed)
    words = ["order", "box", "card", "today", "wait"]
    return [
        row(
            number,
            label=number % 2 == 0,
            completion=f"{rng.choice(words)} {bad if number % 2 else good} {rng.choice(words)}",
        )
        for number in range(count)
    ]


def test_a_bag_of_words_finds_the_word_that_decides(tmp_path: Path, base: Path) -> None:
    figures = read_by(
        tmp_path / "w", base, rows_of(80, 1, good="sorry", bad="never"), rows_of(40, 2, good="sorry", bad="never")
    )

    assert figures["bag_of_words"]["value"] > 0.95
    assert 0.3 < figures["length"]["value"] < 0.7
    assert figures["reference"]["value"] == 0.5
    assert figures["best"] == "bag_of_words"
    assert figures["auroc_over_best"]["value"] == pytest.approx(0.5 - figures["bag_of_words"]["value"])
    assert figures["auroc_over_best"]["high"] < 0


def test_words_of_prompts_and_of_completions_are_distinguished(tmp_path: Path, base: Path) -> None:
    """Uses rows that have both words: the one in the completion decides."""
    swapped = [
        row(number, label=label, prompt="never" if label else "sorry", completion="sorry" if label else "never")
        for number, label in enumerate([True, False] * 30)
    ]

    figures = read_by(tmp_path / "w", base, swapped, swapped[:20])

    assert figures["bag_of_words"]["value"] == 1.0


@pytest.mark.parametrize(("good", "bad"), [("a b c d e f g h", "a"), ("a", "a b c d e f g h")])
def test_the_direction_of_length_is_that_of_the_training_rows(tmp_path: Path, base: Path, good: str, bad: str) -> None:
    figures = read_by(tmp_path / "w", base, rows_of(60, 1, good=good, bad=bad), rows_of(30, 2, good=good, bad=bad))

    assert figures["length"]["value"] > 0.95


def test_the_reference_is_read_a_token(tmp_path: Path, base: Path) -> None:
    holdout = rows_of(30, 2, good="aaaaaaaaaaaaaaaaaaaaaaaaaa", bad="a")
    likely = [
        -0.5 * (len(each["completion"]) + 1) if each["label"] else -2.0 * (len(each["completion"]) + 1)
        for each in holdout
    ]

    figures = read_by(tmp_path / "w", base, rows_of(60, 1, good="x", bad="x"), holdout, likely)

    assert figures["reference"]["value"] == 1.0
    assert figures["best"] == "reference"


def test_too_few_training_rows_give_no_fit_and_say_so(tmp_path: Path, base: Path) -> None:
    figures = read_by(
        tmp_path / "w", base, rows_of(2 * LEAST_OF_CLASS - 2, 1, good="x", bad="y"), rows_of(10, 2, good="x", bad="y")
    )

    for name in ("bag_of_words", "length"):
        assert figures[name]["value"] is None
        assert f"{LEAST_OF_CLASS - 1} training rows" in figures[name]["reason"]
    assert figures["best"] == "reference"


def test_a_holdout_of_one_class_gives_no_figures(tmp_path: Path, base: Path) -> None:
    holdout = [each for each in rows_of(20, 2, good="x", bad="y") if each["label"]]

    figures = read_by(tmp_path / "w", base, rows_of(60, 1, good="x", bad="y"), holdout)

    assert [figures[name]["value"] for name in (*READERS, "auroc_over_best")] == [None] * 4
    assert figures["best"] is None
    assert figures["auroc_over_best"]["reason"] == "one class only"
