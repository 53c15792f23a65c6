"""Whole runs with each objective: its rows, that it learns, and that it resumes bit for bit."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from thumbwheel.wire.recipe import PAIRED, ObjectiveName

from tests.trainer import tiny
from worker.training.data.tokens import Span, Tokens
from worker.training.machine.process import Stopped
from worker.training.models import policy
from worker.training.objectives import OBJECTIVES
from worker.training.train import train

LABELS = [{"name": "polite", "weight": 0.9}, {"name": "true", "weight": 0.1, "lambda_desirable": 2.0}]


def rows(objective: str) -> list[dict[str, Any]]:
    if objective == "mo_kto":
        return [
            {**row, "labels": [{"name": "polite", "value": row["label"]}, {"name": "true", "value": number % 5 != 0}]}
            for number, row in enumerate(tiny.paired_rows())
        ]
    if objective == "tkto":
        return [{**row, "spans": [{"start": 0, "end": 4, "weight": 3.0}]} for row in tiny.paired_rows()]
    return tiny.paired_rows()


def stage(workdir: Path, base: Path, objective: str, **recipe: Any) -> Path:
    labels = {"labels": LABELS} if objective == "mo_kto" else {}
    return tiny.stage(workdir, base, rows(objective), objective=objective, **labels, **recipe)


#: One worker of pytest-xdist gets all tests of an objective, so that its run happens once.
OBJECTIVE = [pytest.param(name, marks=pytest.mark.xdist_group(f"objective {name}")) for name in get_args(ObjectiveName)]


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Trains a model of two layers with an objective, once, and returns the WORKDIR of the whole run."""
    base = tiny.save_model(tmp_path_factory.mktemp("learnt") / "base", chat=True)

    @cache
    def run(objective: str) -> Path:
        workdir = stage(tmp_path_factory.mktemp("learnt") / "w", base, objective, epochs=6)
        train(workdir)
        return workdir

    return run


@pytest.mark.parametrize("objective", OBJECTIVE)
def test_every_objective_learns_to_tell_its_rows_apart(learnt: Callable[[str], Path], objective: str) -> None:
    workdir = learnt(objective)
    steps = tiny.lines(workdir / "metrics.jsonl")
    first, last = steps[0], steps[-1]
    assert last["loss"] < first["loss"]
    assert all(np.isfinite(step["loss"]) and np.isfinite(step["gradient_norm"]) for step in steps)
    if objective == "sft":
        assert last["margin"] is None
        assert tiny.document(workdir / "training.json")["rows_trained"] == 11
    else:
        assert last["margin"] > first["margin"]
        assert np.mean([step["accuracy"] for step in steps[-3:]]) > 0.7
    summary = tiny.document(workdir / "training.json")
    assert summary["pairs_trained"] == (11 if objective in PAIRED else None)
    assert summary["recipe"]["objective"] == objective


@pytest.mark.parametrize("objective", OBJECTIVE)
def test_every_objective_with_a_reference_starts_at_it(learnt: Callable[[str], Path], objective: str) -> None:
    workdir = learnt(objective)
    first = tiny.lines(workdir / "metrics.jsonl")[0]
    if OBJECTIVES[objective].reference:
        assert first["reward_desirable"] == first["reward_undesirable"] == 0
    at_start = {"dpo": np.log(2), "slic": 1, "ipo": 25}
    if objective in at_start:
        assert first["loss"] == pytest.approx(at_start[objective])
    if objective in ("kto", "apo_zero_unpaired", "tkto"):
        assert (first["loss_desirable"], first["loss_undesirable"]) == (0.75, 0.5)
    assert (first["z0"] is None) == (not OBJECTIVES[objective].mismatched)


@pytest.mark.parametrize("objective", ["bco", "tkto", "mo_kto", "sft", "dpo", "simpo"])
@pytest.mark.trial
def test_every_kind_of_objective_resumes_to_the_last_bit(tmp_path: Path, base: Path, objective: str) -> None:
    # given an undisturbed run, and one that is stopped repeatedly, inside accumulation and across epochs
    calm = stage(tmp_path / "calm", base, objective)
    train(calm)
    workdir = stage(tmp_path / "w", base, objective)
    stops = 0
    for looks in range(2, 100, 2):
        try:
            train(workdir, tiny.StopAfter(looks))
            break
        except Stopped:
            stops += 1

    assert stops > 1
    digests = [tiny.document(folder / "training.json")["weights_sha256"] for folder in (calm, workdir)]
    assert digests[0] == digests[1]
    ours, theirs = (tiny.lines(folder / "metrics.jsonl") for folder in (calm, workdir))
    timed = {"seconds", "tokens_per_second", "rows_per_second"}
    for a, b in zip(ours, theirs, strict=True):
        assert {key: a[key] for key in a.keys() - timed} == {key: b[key] for key in b.keys() - timed}


def test_the_rows_that_spans_cover_weigh_what_the_span_says() -> None:
    tokens = Tokens(tiny.tokenizer(chat=True), None)
    spans = [Span(1, 3, 5.0), Span(3, 4, 0.0)]

    [(_, completion, weights)] = tokens.encode_text(["Q: "], ["abcde"], [spans])
    chat = tokens.encode_chat(
        [[{"role": "user", "content": "abcde"}]], [[{"role": "assistant", "content": "abcde"}]], [spans]
    )
    [without] = tokens.encode_text(["Q: "], ["abcde"], [[]])

    assert len(completion) == 6  # five bytes and the end token
    assert weights is not None
    assert weights.tolist() == [1, 5, 5, 0, 1, 1]
    assert chat[0].weights is not None
    assert chat[0].weights.tolist() == [1, 5, 5, 0, 1, 1]
    assert without.weights is not None
    assert without.weights.tolist() == [1] * 6


def test_without_spans_tkto_trains_what_kto_trains(
    tmp_path: Path, finished_run: Callable[..., Path], base: Path
) -> None:
    kto = finished_run()
    tkto = tiny.stage(tmp_path / "tkto", base, tiny.text_rows(), objective="tkto")

    train(tkto)

    ours, theirs = (tiny.lines(folder / "metrics.jsonl") for folder in (kto, tkto))
    for name in ("loss", "z0_raw", "margin"):
        assert [line[name] for line in ours] == pytest.approx([line[name] for line in theirs], rel=1e-4, abs=1e-6)


def test_kto_without_partners_is_apo(tmp_path: Path, base: Path) -> None:
    # given rows that share one prompt, so that there are no mismatched completions
    same = [{**row, "prompt": "same:"} for row in tiny.text_rows()]
    kto = tiny.stage(tmp_path / "kto", base, same)
    apo = tiny.stage(tmp_path / "apo", base, same, objective="apo_zero_unpaired")

    train(kto)
    train(apo)

    digests = [tiny.document(folder / "training.json")["weights_sha256"] for folder in (kto, apo)]
    assert digests[0] == digests[1]
    assert {line["code"] for line in tiny.lines(kto / "warnings.jsonl")} >= {"unpaired_rows"}
    assert "unpaired_rows" not in {line["code"] for line in tiny.lines(apo / "warnings.jsonl")}


@pytest.mark.xdist_group("objective bco")
def test_the_running_mean_of_bco_is_reported_and_saved(learnt: Callable[[str], Path]) -> None:
    workdir = learnt("bco")

    deltas = [line["delta"] for line in tiny.lines(workdir / "metrics.jsonl")]
    assert deltas[0] == 0
    assert deltas[-1] != 0
    states = sorted((workdir / "state").iterdir())
    total, count = tiny.document(states[-1] / "state.json")["running"]
    step = tiny.document(states[-1] / "state.json")["step"]
    assert total / count == pytest.approx(deltas[step - 1])


def test_a_paired_objective_needs_pairs(tmp_path: Path, base: Path) -> None:
    workdir = tiny.stage(tmp_path / "w", base, tiny.text_rows(), objective="dpo")

    with pytest.raises(policy.TrainingRefusal, match=r"objective: dpo .*pairs"):
        train(workdir)
