"""Training checkpoints: saved atomically, verified on load, resumed to the last bit.

    state/step-NNNNNN/weights.safetensors     the trained weights, float32
    state/step-NNNNNN/optimizer.safetensors   AdamW's two moments and step count, per weight
    state/step-NNNNNN/state.json              step, what the run is (identity), seconds so far, bco's running sum and
                                              count, sha256 of the two files

Schedule, block order and position all follow from the step, and nothing else is random: see `batches`.
"""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from worker.kto.files import folder_atomically, sha256_of, write_atomically
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


def save(
    folder: Path,
    position: Position,
    identity: str,
    weights: Mapping[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
) -> None:
    """Write state/step-NNNNNN and drop all but the last two."""
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
        write_atomically(place / "state.json", json.dumps(state, indent=1).encode())
    for old in _newest_first(folder)[KEPT:]:
        shutil.rmtree(old)


def resume(
    folder: Path,
    identity: str,
    weights: Mapping[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
    say: Callable[[str], None],
) -> Position | None:
    """Load the newest sound checkpoint into `weights` and `optimizer`, or return None where there is none.

    A damaged one is passed over, and `say` is told. Raises `Refusal` where it belongs to another job.
    """
    for path in _newest_first(folder):
        state = _sound_state(path)
        if state is None:
            say(f"training checkpoint {path.name} is damaged and was passed over: the run continues from an older one")
            continue
        if state["identity"] != identity:
            raise Refusal(
                "state_of_another_job",
                f"state: {path.name} was made with another recipe, snapshot or model: use a new WORKDIR or remove it",
            )
        _restore(load_file(path / FILES[0]), load_file(path / FILES[1]), weights, optimizer)
        total, count = state["running"]
        return Position(state["step"], state["seconds"], state["threads"], (total, count), state["unfinished"])
    return None


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


def _sound_state(path: Path) -> dict[str, Any] | None:
    try:
        state: dict[str, Any] = json.loads((path / "state.json").read_bytes())
        sound = all(sha256_of(path / name) == digest for name, digest in state["sha256"].items())
    except (OSError, ValueError, KeyError):
        return None
    return state if sound else None
