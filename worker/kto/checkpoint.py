"""Training checkpoints: saved atomically, verified on load, resumed to the last bit.

    state/step-NNNNNN/weights.safetensors     the trained weights, float32
    state/step-NNNNNN/optimizer.safetensors   AdamW's two moments and step count, per weight
    state/step-NNNNNN/state.json              step, what the run is (identity), seconds so far, bco's running sum and
                                              count, sha256 of the two files and of all this
    state/damaged-NNNNNN/                     one that did not verify: never looked at again, kept for whoever asks why

Schedule, block order and position all follow from the step, and nothing else is random: see `batches`.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from app.runs.recipe import Recipe
from worker.kto.files import folder_atomically, sha256_of, sync, write_atomically
from worker.kto.process import Refusal

KEPT = 2
FILES = ("weights.safetensors", "optimizer.safetensors")


@dataclass(frozen=True)
class Position:
    """Where a run is."""

    step: int  # optimizer steps done
    seconds: float  # of training, over all attempts
    threads: int  # of CPU arithmetic: the bits depend on them
    running: tuple[float, float] = (0.0, 0.0)  # sum and count of the rewards so far, for bco
    unfinished: dict[str, Any] | None = None  # figures of `step`, where it was stopped while its drift was measured


class Due:
    """When to save: every so many steps or minutes, whichever comes first. Bits do not depend on it."""

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
    """Write state/step-NNNNNN and drop all but the last two. Where that fails, those before are still there."""
    for leftover in folder.glob(".step-*"):  # of a process that was killed here
        shutil.rmtree(leftover)
    moments = {
        f"{name}/{key}": value.detach().contiguous()
        for name, weight in weights.items()
        for key, value in optimizer.state[weight].items()
    }
    with folder_atomically(folder / f"step-{position.step:06d}") as place:
        save_file({name: weight.detach().contiguous() for name, weight in weights.items()}, place / FILES[0])
        save_file(moments, place / FILES[1])
        state = {
            "step": position.step,
            "seconds": position.seconds,
            "threads": position.threads,
            "running": position.running,
            "unfinished": position.unfinished,
            "identity": identity,
            "sha256": {name: sha256_of(place / name) for name in FILES},
        }
        state["own_sha256"] = _digest(state)
        write_atomically(place / "state.json", json.dumps(state, indent=1).encode())
    for old in _newest_first(folder)[KEPT:]:
        shutil.rmtree(old)


def resume(
    folder: Path, identity: str, weights: Mapping[str, nn.Parameter], optimizer: torch.optim.Optimizer
) -> tuple[Position | None, list[str]]:
    """Load the newest sound checkpoint into `weights` and `optimizer`: where the run is, None where there is none; and
    the names of damaged ones, newest first, which were passed over and put aside.

    Raises `Refusal` where it belongs to another job.
    """
    passed_over: list[str] = []
    for path in _newest_first(folder):
        state = _sound_state(path)
        if state is None:
            # Left among the others it would count as one of the last two.
            _put_aside(path)
            passed_over.append(path.name)
            continue
        if state["identity"] != identity:
            raise Refusal(
                "state_of_another_job",
                f"state: {path.name} was made with another recipe, snapshot or model: use a new WORKDIR or remove it",
            )
        _restore(load_file(path / FILES[0]), load_file(path / FILES[1]), weights, optimizer)
        total, count = state["running"]
        position = Position(state["step"], state["seconds"], state["threads"], (total, count), state["unfinished"])
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
            key.rpartition("/")[2]: value.to(weight.device)  # the step count too: AdamW in one pass wants it there
            for key, value in moments.items()
            if key.rpartition("/")[0] == name
        }


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*"), reverse=True)


def _put_aside(path: Path) -> None:
    place = path.with_name(path.name.replace("step-", "damaged-"))
    shutil.rmtree(place, ignore_errors=True)
    path.replace(place)
    sync(path.parent)


def _sound_state(path: Path) -> dict[str, Any] | None:
    try:
        state: dict[str, Any] = json.loads((path / "state.json").read_bytes())
        own = state.pop("own_sha256")
        sound = own == _digest(state) and all(sha256_of(path / name) == state["sha256"][name] for name in FILES)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return state if sound else None


def _digest(state: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()
