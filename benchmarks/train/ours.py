"""Our lane: `worker.training.train.train` on a WORKDIR, unchanged.

The lane follows it through its public contract: the trainer checks for a stop request now and then, and appends a line
to metrics.jsonl after each optimizer step. The first check after a new line is the end of a step. The lane also
intercepts the plan of blocks: at that point the model is loaded and tried, and the reference pass begins.
"""

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from thumbwheel.wire.recipe import Recipe

from benchmarks.train.configurations import Configuration
from benchmarks.train.lane import Lane, Swaps
from benchmarks.train.rows import Chats
from worker.training.data.batches import BatchPlan, Block
from worker.training.machine.process import StopRequest

PLAN = "worker.training.data.batches:plan"
LEARNING_RATE, MAX_LENGTH, SEED = 1e-4, 1024, 42


class InOrder(BatchPlan):
    """A plan with the same order of blocks in every epoch, so that the steps of two epochs can be compared."""

    def steps(self, epoch: int, blocks_per_step: int, seed: int) -> list[list[Block]]:  # noqa: ARG002
        starts = range(0, len(self.blocks), blocks_per_step)
        return [list(self.blocks[start : start + blocks_per_step]) for start in starts]


def batches_of_trl(count: int, rows_per_step: int) -> BatchPlan:
    """Returns TRL's plan: rows in order, each with the completion of the row before it in its batch (cyclically)."""
    starts = range(0, count, rows_per_step)
    blocks = [tuple(range(start, min(start + rows_per_step, count))) for start in starts]
    return InOrder(tuple(Block(block, block[-1:] + block[:-1]) for block in blocks))


def ours(
    folder: Path,
    base: Path,
    chats: Chats,
    configuration: Configuration,
    *,
    name: str,
    given: BatchPlan | None = None,
    swaps: Swaps | None = None,
    recipe: dict[str, Any] | None = None,
    max_length: int = MAX_LENGTH,
) -> Lane:
    """Returns our lane.

    given   a plan that replaces the trainer's own
    recipe  changes to the recipe
    """
    stage(folder, base, chats, configuration, {"max_length": max_length, **(recipe or {})})
    plans: list[BatchPlan] = []

    def loop(lane: Lane) -> None:
        from worker.training.train import train

        train(folder, Watch(folder, lane))

    def losses() -> Sequence[float]:
        return [line["loss"] for line in metrics(folder)]

    def lengths() -> Sequence[Sequence[int]]:
        return [[chats.rows[row].tokens for row in block.rows] for block in plans[-1].blocks]

    def planned(own: Callable[..., BatchPlan]) -> Callable[..., BatchPlan]:
        def plan(*arguments: Any, **settings: Any) -> BatchPlan:
            source = given or own(*arguments, **settings)
            first = tuple(block for step in source.steps(0, 1, SEED) for block in step)
            plans.append(InOrder(first, source.mismatched))
            lane.pause("loaded")
            return plans[-1]

        return plan

    lane = Lane(name, loop, losses, lengths, {**(swaps or {}), PLAN: planned})
    return lane


class Watch(StopRequest):
    """A stop request that never stops the trainer, but pauses the lane at the trainer's checks."""

    def __init__(self, folder: Path, lane: Lane) -> None:
        self._metrics, self._lane = folder / "metrics.jsonl", lane
        self._size = 0

    @property
    def requested(self) -> bool:  # type: ignore[override]
        size = self._metrics.stat().st_size if self._metrics.exists() else 0
        if size == 0:
            self._lane.pause("reference")
        elif size > self._size:
            self._lane.pause("step")
        self._size = size
        return False


def metrics(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def stage(folder: Path, base: Path, chats: Chats, configuration: Configuration, changes: dict[str, Any]) -> None:
    """Writes a WORKDIR to `folder`. `changes` are changes to the recipe."""
    (folder / "snapshot").mkdir(parents=True)
    shard = folder / "snapshot" / "train.parquet"
    columns = [
        {
            "prompt": row.prompt, "completion": row.completion, "label": row.desirable, "weight": 1.0, "reason": "",
            "completion_id": f"c{number}", "checkpoint_id": "", "position": number,
        }
        for number, row in enumerate(chats.rows)
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(columns), shard)
    digest = hashlib.sha256(shard.read_bytes()).hexdigest()
    entry = {"path": shard.name, "split": "train", "format": "text", "rows": len(columns), "sha256": digest}
    _write(folder / "snapshot" / "manifest.json", {"shards": [entry], "counts": {}})
    job = {
        "run_id": "benchmark",
        "base_model": str(base),
        "reference": {"kind": "base"},
        "reference_checkpoint_id": None,
    }
    _write(folder / "job.json", job)
    effort = configuration.effort
    steps = effort.warm_up + effort.passes * math.ceil(len(columns) / effort.rows_per_step) + 1
    recipe = {
        "method": configuration.method, "learning_rate": LEARNING_RATE, "schedule": "constant", "warmup_share": 0.0,
        "lambda_desirable": 1.0, "lambda_undesirable": 1.0, "batch_size": effort.rows_per_step,
        "micro_batch_size": effort.rows_per_step, "epochs": 100, "max_steps": steps, "seed": SEED,
        "precision": "float32" if configuration.precision == "float32" else "bfloat16",
        "save_every_steps": 10**6, "drift": {"checks": 0},
    }  # fmt: skip
    (folder / "recipe.json").write_text(Recipe.model_validate({**recipe, **changes}).model_dump_json())


def _write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content))
