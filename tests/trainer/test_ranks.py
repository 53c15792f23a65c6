"""Several ranks train as one rank does: the same rows, z0 over all rows, added gradients."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.trainer import tiny
from worker.training.train import train

pytestmark = pytest.mark.xdist_group("processes of the trainer")

#: Tolerance for sums over ranks, which round in another order than sums over rows.
CLOSE = {"rel": 1e-4, "abs": 1e-6}


def run(workdir: Path, world: int) -> list[int]:
    processes = tiny.start_ranks(workdir, world)
    for process in processes:
        process.join(120)
    return [process.exitcode for process in processes]


def alone(tmp_path: Path, base: Path, rows: list[dict[str, Any]], **recipe: Any) -> Path:
    workdir = tiny.stage(tmp_path / "alone", base, rows, **recipe)
    train(workdir)
    return workdir


def assert_same_training(one: Path, several: Path) -> None:
    ours, theirs = (tiny.lines(workdir / "metrics.jsonl") for workdir in (one, several))
    assert [line["step"] for line in ours] == [line["step"] for line in theirs]
    for a, b in zip(ours, theirs, strict=True):
        for name in ("loss", "z0", "z0_raw", "reward_desirable", "reward_undesirable", "accuracy", "gradient_norm"):
            same = a[name] is b[name] if None in (a[name], b[name]) else a[name] == pytest.approx(b[name], **CLOSE)
            assert same, (a["step"], name, a[name], b[name])
    left, right = (load_file(workdir / "output" / "model.safetensors") for workdir in (one, several))
    for name, weight in left.items():
        torch.testing.assert_close(weight, right[name], rtol=1e-4, atol=1e-5)


@pytest.mark.trial
@pytest.mark.parametrize("world", [2, 3])
def test_ranks_learn_what_one_process_learns(
    tmp_path: Path, finished_run: Callable[..., Path], base: Path, world: int
) -> None:
    # given 22 rows in micro-batches of 4: the last one has 2, so the third of three ranks gets no row of it
    one = finished_run()
    several = tiny.stage(tmp_path / "several", base, tiny.text_rows())

    assert run(several, world) == [0] * world

    assert_same_training(one, several)
    assert tiny.document(several / "training.json")["ranks"] == world
    assert [line["step"] for line in tiny.lines(several / "metrics.jsonl")] == list(range(1, 7))


@pytest.mark.trial
def test_micro_batches_of_one_class_neither_hang_nor_give_nan(tmp_path: Path, base: Path) -> None:
    rows = [{**row, "label": number == 0} for number, row in enumerate(tiny.text_rows())]
    one = alone(tmp_path, base, rows)
    several = tiny.stage(tmp_path / "several", base, rows)

    assert run(several, 2) == [0, 0]

    assert_same_training(one, several)


@pytest.mark.trial
def test_stopped_ranks_continue_where_they_were(tmp_path: Path, base: Path) -> None:
    long = {"epochs": 8, "save_every_steps": 3}
    calm = tiny.stage(tmp_path / "calm", base, tiny.text_rows(), **long)
    assert run(calm, 2) == [0, 0]
    workdir = tiny.stage(tmp_path / "w", base, tiny.text_rows(), **long)

    # when one of two ranks has to stop
    processes = tiny.start_ranks(workdir, 2)
    tiny.wait_for(lambda: len(tiny.whole_lines(workdir / "metrics.jsonl")) >= 5)
    os.kill(processes[1].pid, signal.SIGTERM)
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [75, 75]

    assert run(workdir, 2) == [0, 0]

    digests = [tiny.document(folder / "training.json")["weights_sha256"] for folder in (calm, workdir)]
    assert digests[0] == digests[1]


def test_a_refusal_on_one_rank_ends_all_of_them(tmp_path: Path) -> None:
    # given a base model in which one token's embedding overflows, and one row that uses it
    folder = tiny.save_overflowing_model(tmp_path / "base")
    rows = tiny.text_rows()
    rows[5]["prompt"] = "A"
    workdir = tiny.stage(tmp_path / "w", folder, rows, epochs=1)

    assert run(workdir, 2) == [2, 2]

    assert "c5" in tiny.document(workdir / "failure.json")["message"]
    assert not (workdir / "output").exists()
