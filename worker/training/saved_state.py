"""Saves training checkpoints atomically, verifies them on load and resumes a run to the last bit.

    state/step-NNNNNN/weights.safetensors     the trained weights, float32
    state/step-NNNNNN/optimizer.safetensors   AdamW's two moments and step count, per weight
    state/step-NNNNNN/state.json              step, identity of the run, rows of a micro-batch, seconds so far, bco's
                                              running sum and count
    state/step-NNNNNN/files.sha256            the seal of the three
    state/damaged-NNNNNN/                     a checkpoint that was damaged: never read again, kept for a diagnosis

Schedule, order of blocks and position follow from the step, and nothing else is random: see `batches`.
"""

import json
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from thumbwheel.wire.recipe import Recipe
from torch import Tensor, nn

from app.durable import flush, folder_atomically
from worker.training.files.sealed import DamagedFile, verify, write_seal
from worker.training.machine.process import TrainingRefusal

KEPT = 2
WEIGHTS, MOMENTS, STATE = FILES = ("weights.safetensors", "optimizer.safetensors", "state.json")
#: It is inside the folder, because it must appear together with it.
SEAL = "files.sha256"


@dataclass(frozen=True)
class Position:
    """The position of a run, with the state that belongs to it."""

    step: int  # optimizer steps done
    seconds: float  # of training, over all attempts
    threads: int  # of CPU arithmetic: the bits depend on them
    running: tuple[float, float] = (0.0, 0.0)  # sum and count of the rewards so far, for bco
    unfinished: dict[str, Any] | None = None  # figures of `step`, if it was stopped while its drift was measured
    micro_batch_size: int | None = None  # earlier steps depend on it


class Due:
    """Decides when to save: after the recipe's number of steps or minutes. It does not change the results."""

    def __init__(self, recipe: Recipe) -> None:
        self._steps, self._seconds = recipe.save_every_steps, 60 * recipe.save_every_minutes
        self.saved()

    def saved(self) -> None:
        self._at = time.monotonic()

    def after(self, step: int) -> bool:
        return step % self._steps == 0 or time.monotonic() - self._at >= self._seconds


def save(
    folder: Path,
    position: Position,
    identity: str,
    weights: Mapping[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
) -> None:
    """Writes state/step-NNNNNN and removes all but the last two. If that fails, the earlier ones remain."""
    for leftover in folder.glob(".step-*"):  # from a process that was killed while saving
        shutil.rmtree(leftover)
    moments = {
        f"{name}/{key}": value.detach().contiguous()
        for name, weight in weights.items()
        for key, value in optimizer.state[weight].items()
    }
    with folder_atomically(folder / f"step-{position.step:06d}") as checkpoint:
        save_file({name: weight.detach().contiguous() for name, weight in weights.items()}, checkpoint / WEIGHTS)
        save_file(moments, checkpoint / MOMENTS)
        state = {
            "step": position.step,
            "seconds": position.seconds,
            "threads": position.threads,
            "running": position.running,
            "unfinished": position.unfinished,
            "micro_batch_size": position.micro_batch_size,
            "identity": identity,
        }
        (checkpoint / STATE).write_text(json.dumps(state, indent=1))
        write_seal(checkpoint / SEAL, [checkpoint / name for name in FILES])
    for old in _newest_first(folder)[KEPT:]:
        shutil.rmtree(old)


def resume(
    folder: Path,
    identity: str,
    weights: Mapping[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
    micro_batch_size: int | None = None,
) -> tuple[Position | None, list[str]]:
    """Loads the newest sound checkpoint into `weights` and `optimizer`.

    Returns the position of the run, or None without a checkpoint, and the names of the checkpoints that were skipped
    and put aside, newest first. These are damaged, or have another micro-batch size, which was measured again after
    micro-batch.json was damaged. Raises `TrainingRefusal` if the checkpoint belongs to another job.
    """
    passed_over: list[str] = []
    for path in _newest_first(folder):
        state = _sound_state(path)
        if state is None or state["micro_batch_size"] != micro_batch_size:
            # Otherwise it would count as one of the last two.
            _put_aside(path)
            passed_over.append(path.name)
            continue
        if state["identity"] != identity:
            raise TrainingRefusal(
                "state_of_another_job",
                f"state: {path.name} was made with another recipe, snapshot or model: use a new WORKDIR or remove it",
            )
        _restore(load_file(path / WEIGHTS), load_file(path / MOMENTS), weights, optimizer)
        total, count = state["running"]
        position = Position(
            state["step"], state["seconds"], state["threads"], (total, count), state["unfinished"], micro_batch_size
        )
        return position, passed_over
    return None, passed_over


def _restore(
    saved: Mapping[str, Tensor],
    moments: Mapping[str, Tensor],
    weights: Mapping[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
) -> None:
    with torch.no_grad():
        for name, weight in weights.items():
            weight.copy_(saved[name])
    for name, weight in weights.items():
        optimizer.state[weight] = {
            key.rpartition("/")[2]: value.to(weight.device)  # the step count too: AdamW in one pass needs it there
            for key, value in moments.items()
            if key.rpartition("/")[0] == name
        }


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*"), reverse=True)


def _put_aside(path: Path) -> None:
    target = path.with_name(path.name.replace("step-", "damaged-"))
    with suppress(FileNotFoundError):  # another rank was quicker
        shutil.rmtree(target, ignore_errors=True)
        path.replace(target)
    flush(path.parent)


def _sound_state(path: Path) -> dict[str, Any] | None:
    """Returns the content of state.json, or None if a file is damaged or the seal is missing."""
    try:
        sealed = verify(path / SEAL)
    except DamagedFile:
        return None
    state: dict[str, Any] | None = json.loads((path / STATE).read_bytes()) if sealed else None
    return state
