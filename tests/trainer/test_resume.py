"""A run that was killed, stopped, or lost a checkpoint ends with the very bits of one that was left alone."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.trainer import tiny
from worker.kto.process import Stopped
from worker.kto.train import train

LONG: dict[str, Any] = {"epochs": 8, "save_every_steps": 3}  # 24 steps, 3 an epoch


def digest(workdir: Path) -> str:
    return str(tiny.document(workdir / "training.json")["weights_sha256"])


def steps(workdir: Path) -> list[int]:
    return [line["step"] for line in tiny.lines(workdir / "metrics.jsonl")]


@pytest.fixture(scope="module", params=["full", "lora"])
def method(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, base: Path, adapter: Path, method: str) -> str:
    workdir = tiny.stage(
        tmp_path_factory.mktemp("undisturbed") / "w", base, tiny.text_rows(), adapter=adapter, method=method, **LONG
    )
    process = tiny.start(workdir)
    process.join()
    assert process.exitcode == 0
    return digest(workdir)


@pytest.fixture
def workdir(tmp_path: Path, base: Path, adapter: Path, method: str) -> Path:
    return tiny.stage(tmp_path / "w", base, tiny.text_rows(), adapter=adapter, method=method, **LONG)


def disturb(workdir: Path, number: int, after_step: int) -> int | None:
    """Start the trainer, send it signal `number` once it has taken `after_step` steps, and return its exit code."""
    process = tiny.start(workdir)
    tiny.wait_for(lambda: len(tiny.whole_lines(workdir / "metrics.jsonl")) >= after_step or not process.is_alive())
    if process.is_alive():
        os.kill(process.pid, number)
    process.join()
    return int(process.exitcode)


@pytest.mark.parametrize("seed", [1, 2])
def test_kill_minus_nine_at_random_steps_changes_no_bit(workdir: Path, undisturbed: str, seed: int) -> None:
    for after_step in sorted(random.Random(seed).sample(range(1, 24), 3)):
        assert disturb(workdir, signal.SIGKILL, after_step) in (-signal.SIGKILL, 0)

    assert disturb(workdir, 0, 10_000) == 0

    assert digest(workdir) == undisturbed
    assert steps(workdir) == list(range(1, 25))
    assert len(list((workdir / "state").iterdir())) == 2


def test_sigterm_saves_the_state_and_asks_to_be_called_again(workdir: Path, undisturbed: str) -> None:
    for after_step in (1, 8, 15):
        assert disturb(workdir, signal.SIGTERM, after_step) == 75
        saved = max(int(path.name.removeprefix("step-")) for path in (workdir / "state").iterdir())
        assert saved == steps(workdir)[-1] >= after_step

    assert disturb(workdir, 0, 10_000) == 0

    assert digest(workdir) == undisturbed
    assert steps(workdir) == list(range(1, 25))


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(workdir: Path, undisturbed: str) -> None:
    # given two saved states, the newer one with a flipped byte
    assert disturb(workdir, signal.SIGTERM, 8) == 75
    newest = max((workdir / "state").iterdir())
    weights = newest / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)

    assert disturb(workdir, 0, 10_000) == 0

    assert digest(workdir) == undisturbed
    [message] = [line["message"] for line in tiny.lines(workdir / "warnings.jsonl") if line["code"] == "state_damaged"]
    assert newest.name in message


def test_stopping_at_every_single_moment_changes_no_bit(tmp_path: Path, base: Path, adapter: Path, method: str) -> None:
    # given a job of 3 steps with 2 micro-batches each
    short: dict[str, Any] = {"adapter": adapter, "method": method, "epochs": 1}
    calm = tiny.stage(tmp_path / "calm", base, tiny.text_rows(), **short)
    train(calm)

    # when it is stopped each time it has looked once more: in the reference pass, between steps, inside accumulation
    workdir = tiny.stage(tmp_path / "w", base, tiny.text_rows(), **short)
    stops = 0
    for looks in range(1, 100):
        try:
            train(workdir, tiny.StopAfter(looks))
            break
        except Stopped:
            stops += 1

    assert stops > 8
    assert digest(workdir) == digest(calm)


def test_the_command_itself_trains_and_says_nothing_on_stderr(tmp_path: Path, base: Path, adapter: Path) -> None:
    workdir = tiny.stage(tmp_path / "w", base, tiny.text_rows(), adapter=adapter, method="lora", max_steps=2)

    done = subprocess.run(
        [sys.executable, "-m", "worker.kto.train", str(workdir)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr, done.stdout) == (0, "", "")
    phases = list(dict.fromkeys(line["phase"] for line in tiny.lines(workdir / "progress.jsonl")))
    assert phases == ["loading", "referencing", "training"]
    last = tiny.lines(workdir / "progress.jsonl")[-1]
    assert (last["phase"], last["done"], last["total"]) == ("training", 2, 2)
