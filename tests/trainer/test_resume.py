"""A run that was killed, stopped, or lost a checkpoint ends with the same bits as an undisturbed run."""

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from thumbwheel.wire.recipe import Recipe

from tests.trainer import tiny
from worker.training import saved_state
from worker.training.job import read_job
from worker.training.machine.process import DISK_FULL, Stopped, StopRequest
from worker.training.train import train

pytestmark = pytest.mark.xdist_group("processes of the trainer")

LONG: dict[str, Any] = {"epochs": 4, "save_every_steps": 3}  # 12 steps, 3 an epoch


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
    """Starts the trainer, sends it signal `number` after `after_step` steps, and returns its exit code."""
    process = tiny.start(workdir)
    tiny.wait_for(lambda: len(tiny.whole_lines(workdir / "metrics.jsonl")) >= after_step or not process.is_alive())
    if process.is_alive():
        os.kill(process.pid, number)
    process.join()
    return int(process.exitcode)


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.trial)])
def test_kill_minus_nine_at_random_steps_changes_no_bit(workdir: Path, undisturbed: str, seed: int) -> None:
    for after_step in sorted(random.Random(seed).sample(range(1, 12), 3)):
        assert disturb(workdir, signal.SIGKILL, after_step) in (-signal.SIGKILL, 0)

    assert disturb(workdir, 0, 10_000) == 0

    assert digest(workdir) == undisturbed
    assert steps(workdir) == list(range(1, 13))
    assert len(list((workdir / "state").iterdir())) == 2


def test_sigterm_saves_the_state_and_asks_to_be_called_again(workdir: Path, undisturbed: str) -> None:
    for after_step in (1, 5, 8):
        assert disturb(workdir, signal.SIGTERM, after_step) == 75
        saved = max(int(path.name.removeprefix("step-")) for path in (workdir / "state").iterdir())
        assert saved == steps(workdir)[-1] >= after_step

    assert disturb(workdir, 0, 10_000) == 0

    assert digest(workdir) == undisturbed
    assert steps(workdir) == list(range(1, 13))


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


def a_training(rows: int = 3) -> tuple[dict[str, torch.nn.Parameter], torch.optim.Optimizer]:
    """Returns one weight that has been updated once, and its optimizer."""
    weight = torch.nn.Parameter(torch.arange(float(rows)))
    optimizer = torch.optim.AdamW([weight])
    weight.sum().backward()
    optimizer.step()
    return {"w": weight}, optimizer


def save(folder: Path, *steps: int) -> None:
    for step in steps:
        weights, optimizer = a_training()
        with torch.no_grad():
            weights["w"].fill_(float(step))
        saved_state.save(folder, saved_state.Position(step, 1.0, 1), "job", weights, optimizer)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-4] ^= 1
    path.write_bytes(content)


def spoil_step(path: Path) -> None:
    path.write_text(path.read_text().replace('"step": 9', '"step": 8'))


@pytest.mark.parametrize(
    ("file", "spoil"),
    [
        ("weights.safetensors", flip),
        ("optimizer.safetensors", flip),
        ("optimizer.safetensors", Path.unlink),
        ("state.json", spoil_step),
        ("state.json", Path.unlink),
    ],
)
def test_whatever_of_a_checkpoint_is_damaged_the_one_before_is_taken_and_two_sound_ones_are_kept(
    tmp_path: Path, file: str, spoil: Callable[[Path], None]
) -> None:
    save(tmp_path, 3, 6, 9)
    spoil(tmp_path / "step-000009" / file)
    weights, optimizer = a_training()

    position, passed_over = saved_state.resume(tmp_path, "job", weights, optimizer)

    assert position is not None
    assert (position.step, passed_over) == (6, ["step-000009"])
    assert weights["w"].tolist() == [6.0] * 3
    save(tmp_path, 8)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["damaged-000009", "step-000006", "step-000008"]


def test_where_both_checkpoints_are_damaged_training_begins_anew_to_the_same_bits_and_says_so(
    tmp_path: Path, base: Path
) -> None:
    short: dict[str, Any] = {"max_steps": 3, "save_every_steps": 1}
    calm, workdir = (tiny.stage(tmp_path / name, base, tiny.text_rows(), **short) for name in ("calm", "w"))
    train(calm)
    with pytest.raises(Stopped):
        train(workdir, tiny.StopAfter(11))
    saved = sorted((workdir / "state").iterdir())
    assert len(saved) == 2
    for path in saved:
        flip(path / "weights.safetensors")

    train(workdir)

    assert digest(workdir) == digest(calm)
    [message] = [line["message"] for line in tiny.lines(workdir / "warnings.jsonl") if line["code"] == "state_damaged"]
    assert f"{saved[1].name}, {saved[0].name} in {workdir / 'state'} did not verify" in message
    assert "begins again" in message


def test_what_a_killed_save_left_behind_goes_with_the_next_one(tmp_path: Path) -> None:
    (tmp_path / ".step-000005.part").mkdir()

    save(tmp_path, 6)

    assert [path.name for path in tmp_path.iterdir()] == ["step-000006"]


def test_a_state_is_saved_every_so_many_steps_or_minutes_whichever_comes_first() -> None:
    def due(**changes: Any) -> list[int]:
        after = saved_state.Due(Recipe.model_validate({**tiny.RECIPE, **changes}))
        return [step for step in range(1, 7) if after.after(step)]

    assert due(save_every_steps=3) == [3, 6]
    assert due(save_every_steps=3, save_every_minutes=1e-12) == [1, 2, 3, 4, 5, 6]


def test_when_to_save_is_no_part_of_what_is_learnt(tmp_path: Path, base: Path) -> None:
    often, seldom = (
        tiny.stage(tmp_path / str(steps), base, tiny.text_rows(), save_every_steps=steps) for steps in (1, 100)
    )

    assert read_job(often).identity == read_job(seldom).identity


def test_a_disk_that_is_full_leaves_the_last_checkpoint_and_training_goes_on_from_it_once_there_is_room(
    tmp_path: Path, base: Path
) -> None:
    # given a run that was stopped, and no room for files as large as its weights
    short: dict[str, Any] = {"max_steps": 4, "save_every_steps": 1}
    calm, workdir = (tiny.stage(tmp_path / name, base, tiny.text_rows(), **short) for name in ("calm", "w"))
    train(calm)
    with pytest.raises(Stopped):
        train(workdir, tiny.StopAfter(9))
    saved = sorted(path.name for path in (workdir / "state").iterdir())

    process = tiny.start(workdir, fsize=20_000)
    process.join()

    assert process.exitcode == DISK_FULL
    failure = tiny.document(workdir / "failure.json")
    assert failure["message"] == (workdir / "stderr").read_text().strip()
    assert f"the disk that holds {workdir} is full: make room there" in failure["message"]
    assert sorted(path.name for path in (workdir / "state").iterdir()) == saved
    train(workdir)
    assert digest(workdir) == digest(calm)


def test_a_signal_ends_what_has_nothing_to_save_wherever_it_is() -> None:
    stop = StopRequest()
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    stop.listen()
    reached = []

    def load() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            reached.append("what comes after it")
        except Exception:  # noqa: BLE001 - like code that loads a folder, which may be broken in any way
            reached.append("taken for a broken folder")

    try:
        with pytest.raises(Stopped), stop.at_once():
            load()
        with pytest.raises(Stopped), stop.at_once():
            reached.append("a second block")
        # outside of such blocks it is read later
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.requested
    finally:
        for number, handler in zip((signal.SIGTERM, signal.SIGINT), before, strict=True):
            signal.signal(number, handler)
    assert reached == []


@pytest.mark.trial
def test_stopping_at_every_single_moment_changes_no_bit(tmp_path: Path, base: Path, adapter: Path, method: str) -> None:
    # given a job of 3 steps with 2 micro-batches each
    short: dict[str, Any] = {"adapter": adapter, "method": method, "epochs": 1}
    calm = tiny.stage(tmp_path / "calm", base, tiny.text_rows(), **short)
    train(calm)

    # when it is stopped at each check one after the other: in the reference pass, between steps, inside accumulation
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


@pytest.mark.trial
def test_the_command_itself_trains_and_says_nothing_on_stderr(tmp_path: Path, base: Path, adapter: Path) -> None:
    workdir = tiny.stage(tmp_path / "w", base, tiny.text_rows(), adapter=adapter, method="lora", max_steps=2)

    done = subprocess.run(
        [sys.executable, "-m", "worker.training.train", str(workdir)],
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
