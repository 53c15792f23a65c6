"""The distance of the reference from the models that wrote the rows: figures, warnings, and weights that correct it."""

from collections.abc import Callable, Mapping, Sequence
from math import exp
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from thumbwheel.wire.recipe import Recipe

from tests.trainer import tiny
from worker.training.data.rows import Row, read_rows
from worker.training.forward.logprobs import Reading
from worker.training.job import read_job
from worker.training.machine.process import TrainingRefusal
from worker.training.models import policy
from worker.training.off_policy import OffPolicy, measured
from worker.training.train import train

TIMES = ("seconds", "tokens_per_second", "rows_per_second")


def row(desirable: bool, writer: float | None, *, tokens: int = 2, weight: float = 1.0) -> Row:
    ids = np.arange(tokens, dtype=np.int32)
    return Row(ids, ids, desirable, weight, "c", b"p", writer_log_prob=writer)


def figures(rows: Sequence[Row], log_probs: Sequence[float]) -> OffPolicy:
    found = measured(rows, log_probs, range(len(rows)))
    assert found is not None
    return found


def test_weights_are_clipped_ratios_per_token_with_mean_one_in_each_class():
    rows = [row(True, -2.0), row(True, -1.0, tokens=4), row(True, None), row(False, -3.0), row(False, -0.5)]

    found = figures(rows, [-3.0, -4.0, -9.0, -0.2, -20.0])

    up, down = [exp(0.5), 1.0, 1.0], [5.0, 0.2]  # d: 0.5, 0, unknown; 2.9 and −9.5 are clipped
    expected = [3 * w / sum(up) for w in up] + [2 * w / sum(down) for w in down]
    assert list(found.weights.values()) == pytest.approx(expected)
    assert found.mean_difference == pytest.approx((0.5 + 0 + 2.9 + 9.5) / 4)
    assert (found.with_log_probs, found.clipped) == (4, 2)
    assert found.effective_share == pytest.approx(sum(expected) ** 2 / sum(w * w for w in expected) / 5)
    assert found.report(corrected=False)["rows_without"] == 1


def test_rows_without_log_probs_have_no_figures():
    assert measured([row(True, None), row(False, None)], [-1.0, -2.0], [0, 1]) is None


def test_too_few_effective_rows_are_refused_with_the_remedy():
    rows = [row(number % 2 == 0, -1.0, weight=1000.0 if number == 0 else 1.0) for number in range(40)]

    found = figures(rows, [-2.0] * 40)

    assert found.effective_share == pytest.approx(1)
    with pytest.raises(TrainingRefusal, match=r"the 40 rows are worth only 2.7% .*set behaviour_correction to false"):
        found.corrected(rows)


def read(workdir: Path) -> list[Row]:
    job = read_job(workdir)
    tokens = policy.load_tokens(job.base)
    return read_rows(workdir / "snapshot", job.shards_of("train"), tokens, job.recipe.max_length).rows


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, base: Path) -> list[dict[str, Any]]:
    """Returns rows of which three in four have the base model's own log-prob per token, less 0.8 nats."""
    rows = tiny.text_rows()
    read_back = read(tiny.stage(tmp_path_factory.mktemp("written") / "w", base, rows))
    with torch.no_grad():
        reading = Reading.plain(transformers.AutoModelForCausalLM.from_pretrained(base))
        log_probs = reading.read([(one.prompt, one.completion) for one in read_back])[0].lp_B.tolist()
    means = [log_prob / len(one.completion) for log_prob, one in zip(log_probs, read_back, strict=True)]
    return [
        {**given, "writer_log_prob": None if number % 4 == 0 else mean - 0.8}
        for number, (given, mean) in enumerate(zip(rows, means, strict=True))
    ]


def trained(workdir: Path, base: Path, rows: Sequence[Mapping[str, Any]], **recipe: Any) -> Path:
    train(tiny.stage(workdir, base, rows, **recipe))
    return workdir


def learnt(workdir: Path) -> tuple[str, list[dict[str, Any]]]:
    """Returns the hash of the weights and the metrics without times."""
    metrics = [{k: v for k, v in line.items() if k not in TIMES} for line in tiny.lines(workdir / "metrics.jsonl")]
    return tiny.document(workdir / "training.json")["weights_sha256"], metrics


def test_without_the_correction_the_column_changes_no_bit_and_is_reported(
    tmp_path: Path, base: Path, finished_run: Callable[..., Path], written: list[dict[str, Any]]
) -> None:
    workdir = trained(tmp_path / "w", base, written)

    assert learnt(workdir) == learnt(finished_run())
    assert tiny.document(finished_run() / "training.json")["off_policy"] is None
    report = tiny.document(workdir / "training.json")["off_policy"]
    assert (report["rows_with_log_probs"], report["rows_without"], report["corrected"]) == (16, 6, False)
    assert report["mean_absolute_difference"] == pytest.approx(0.8, abs=1e-4)
    assert 0.8 < report["effective_share"] < 1
    [warning] = [line for line in tiny.lines(workdir / "warnings.jsonl") if line["code"] == "off_policy"]
    assert "16 rows log-probs that differ by 0.80 nats per token" in warning["message"]


def test_with_the_correction_rows_train_as_if_they_had_its_weights(
    tmp_path: Path, base: Path, written: list[dict[str, Any]]
) -> None:
    ratios = [1.0 if one["writer_log_prob"] is None else exp(0.8) for one in written]
    mean = {
        label: np.mean([ratio for one, ratio in zip(written, ratios, strict=True) if one["label"] is label])
        for label in (True, False)
    }
    by_hand = [
        {**one, "writer_log_prob": None, "weight": ratio / mean[one["label"]]}
        for one, ratio in zip(written, ratios, strict=True)
    ]

    corrected = trained(tmp_path / "a", base, written, behaviour_correction=True)
    weighed = trained(tmp_path / "b", base, by_hand)

    assert tiny.document(corrected / "training.json")["off_policy"]["corrected"]
    for ours, theirs in zip(*(tiny.lines(one / "metrics.jsonl") for one in (corrected, weighed)), strict=True):
        for name in ("loss", "gradient_norm", "reward_desirable", "reward_undesirable"):
            assert ours[name] == pytest.approx(theirs[name], rel=1e-3, abs=1e-5)
    assert read_job(corrected).identity != read_job(weighed).identity


@pytest.mark.trial
def test_ranks_correct_as_one_process_does(tmp_path: Path, base: Path, written: list[dict[str, Any]]) -> None:
    one = trained(tmp_path / "one", base, written, behaviour_correction=True)
    two = tiny.stage(tmp_path / "two", base, written, behaviour_correction=True)
    for process in (processes := tiny.start_ranks(two, 2)):
        process.join(120)

    assert [process.exitcode for process in processes] == [0, 0]
    ours, theirs = (tiny.document(workdir / "training.json")["off_policy"] for workdir in (one, two))
    assert ours == pytest.approx(theirs, rel=1e-4)


def test_a_row_that_was_cut_is_not_what_the_server_wrote(tmp_path: Path, base: Path) -> None:
    rows = [{**one, "writer_log_prob": -1.0} for one in tiny.text_rows()]
    workdir = tiny.stage(tmp_path / "w", base, rows, max_length=24)

    known = [one.writer_log_prob is not None for one in read(workdir)]

    assert any(known)
    assert known == [one.length < 24 for one in read(workdir)]


def test_the_identity_of_a_run_without_the_correction_does_not_name_it(tmp_path: Path, base: Path) -> None:
    workdir = tiny.stage(tmp_path / "w", base, tiny.text_rows())
    identity = read_job(workdir).identity
    tiny.stage(tmp_path / "on", base, tiny.text_rows(), behaviour_correction=True)

    (workdir / "recipe.json").write_text(read_job(workdir).recipe.model_dump_json(exclude={"behaviour_correction"}))

    assert read_job(workdir).identity == identity
    assert read_job(tmp_path / "on").identity != identity


@pytest.mark.parametrize("objective", ["dpo", "sft"])
def test_an_objective_without_two_classes_has_no_correction(objective: str) -> None:
    with pytest.raises(ValueError, match=f"behaviour_correction weighs rows of two classes, {objective} has none"):
        Recipe.model_validate({"objective": objective, "behaviour_correction": True})
