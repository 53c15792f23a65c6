"""`make study-kto`, tiny: what it does to the rows, what its figures come to, and the whole way of a few trials."""

import io
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from math import sqrt
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from benchmarks.desk_study.over_seeds import interval
from benchmarks.desk_study.workdir import Example
from benchmarks.kto_study.conditions import BASELINE, CLAIMS, CONDITIONS, Condition
from benchmarks.kto_study.desk import Size
from benchmarks.kto_study.summary import document, table
from benchmarks.kto_study.trial import treated
from benchmarks.study_kto import study

TINY = Size(drafts=100, rows_per_class=20, tickets=4, base_steps=3)
SHORT = {"max_steps": 1, "batch_size": 4, "micro_batch_size": 4, "drift": {"checks": 0}}
ROWS = [Example(f"ticket {at}", f"reply {at}", desirable=at % 2 == 0) for at in range(200)]


def test_every_condition_has_a_name_of_its_own_and_one_claim() -> None:
    assert len({each.name for each in CONDITIONS}) == len(CONDITIONS) == 1 + sum(len(it.conditions) for it in CLAIMS)


def test_dropping_desirable_rows_leaves_the_others_as_they_were() -> None:
    left = treated(ROWS, Condition("few", keep_desirable=0.1), seed=1)

    assert sum(row.desirable for row in left) == 10
    assert [row for row in left if not row.desirable] == [row for row in ROWS if not row.desirable]
    assert left == [row for row in ROWS if row in left]


def test_noise_turns_round_as_many_labels_of_each_class_and_no_text() -> None:
    noisy = treated(ROWS, Condition("noise", flipped=0.3), seed=1)

    turned = [
        before.desirable for before, after in zip(ROWS, noisy, strict=True) if before.desirable != after.desirable
    ]
    assert turned.count(True) == turned.count(False) == 30
    assert [(row.prompt, row.completion) for row in noisy] == [(row.prompt, row.completion) for row in ROWS]


def test_the_same_seed_treats_the_same_rows_and_another_seed_others() -> None:
    noise = Condition("noise", flipped=0.3)

    assert treated(ROWS, noise, seed=1) == treated(ROWS, noise, seed=1) != treated(ROWS, noise, seed=2)
    assert treated(ROWS, BASELINE, seed=1) == ROWS


def test_an_interval_is_students_over_the_seeds() -> None:
    found = interval([0.8, 0.85, 0.9])

    half = 4.303 * 0.05 / sqrt(3)  # t of 2 degrees of freedom, s = 0.05
    assert found == pytest.approx({"mean": 0.85, "low": 0.85 - half, "high": 0.85 + half})
    assert interval([0.8]) == {"mean": 0.8, "low": None, "high": None}
    assert interval([])["mean"] is None


def test_a_failed_trial_stays_in_the_document_and_out_of_the_means() -> None:
    figures = dict.fromkeys(("good_share", "invented_refund_share", "unclear_share", "kl_nats"), 0.5)
    figures |= {"length_ratio": 1.0, "auroc": 0.7}
    results: dict[tuple[str, int], dict[str, Any]] = {
        ("baseline", 1): figures, ("baseline", 2): figures, ("beta-0.1", 1): figures | {"good_share": 0.25},
        ("beta-0.1", 2): {"failure": "not finite"},
    }  # fmt: skip
    tried = [each for each in CONDITIONS if each.name in ("baseline", "beta-0.1")]

    found = document(tried, [1, 2], results)

    low = found["conditions"]["beta-0.1"]
    assert low["over_seeds"]["good_share"] == {"mean": 0.25, "low": None, "high": None}
    assert low["difference_of_good_share"]["mean"] == -0.25
    assert low["seeds"]["2"] == {"failure": "not finite"}
    shown = Console(file=io.StringIO(), width=200)
    shown.print(table(found, {1: figures, 2: figures}))
    assert "beta-0.1 (1 failed)" in shown.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.trial
def test_a_study_trains_measures_and_keeps_each_trial(tmp_path: Path) -> None:
    few = replace(CONDITIONS[1], recipe=SHORT)
    conditions = [replace(BASELINE, recipe=SHORT), few]
    console = Console(file=io.StringIO())

    with ThreadPoolExecutor(1) as pool:
        found, bases = study(conditions, [1], TINY, tmp_path, pool, console)
        kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/figures.json")}
        again, _ = study(conditions, [1], TINY, tmp_path, pool, console)

    assert json.dumps(again, allow_nan=False) == json.dumps(found, allow_nan=False)
    assert kept == {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/figures.json")}
    assert not list(tmp_path.glob("*/work"))
    assert set(bases) == {1}
    baseline, dropped = (found["conditions"][each.name]["seeds"]["1"] for each in conditions)
    assert (baseline["rows_desirable"], baseline["rows_undesirable"]) == (20, 20)
    assert "failure" not in dropped, dropped
    assert (dropped["rows_desirable"], dropped["rows_undesirable"]) == (2, 20)
    assert dropped["lambda_desirable"] == pytest.approx(10 * baseline["lambda_desirable"])
    assert baseline["steps"] == 1
    assert 0 <= baseline["good_share"] <= 1
    assert baseline["kl_nats"] > 0
    assert 0 <= baseline["auroc"] <= 1
