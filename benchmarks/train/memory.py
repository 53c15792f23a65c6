"""Measures the peak memory of one lane in a process of its own: two steps, the second on the largest block.

The figure is the highest resident memory between loading and the end of the second step (reference pass, activations,
gradients, optimizer, a second model if there is one), less the resident memory before the model was loaded, less one
copy of the weights. A toy lane runs first, so that this baseline includes the libraries and their buffers. On a GPU,
`lane` counts the memory of the framework's allocator by lane, so no such process is needed.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.train.base import save_base
from benchmarks.train.configurations import Configuration
from benchmarks.train.lane import Lane
from benchmarks.train.ours import MAX_LENGTH, batches_of_trl, ours, stage
from benchmarks.train.rows import Chats
from benchmarks.train.rows import chats as toy_rows_of
from benchmarks.train.theirs import trl
from worker.training.data.rows import read_rows
from worker.training.forward.packed_or_padded import reading_of, tried
from worker.training.job import read_job
from worker.training.machine.memory import measured_micro_batch, measured_peak
from worker.training.machine.ranks import Ranks
from worker.training.models import policy as models

STEPS = 2


def lane_of(side: str, folder: Path, base: Path, chats: Chats, configuration: Configuration) -> Lane:
    """Returns the lane of a side: trl or ours_same as in a race, or trl_lean.

    trl_lean precomputes the reference, sorts the rows by length and recomputes activations.
    """
    if side == "ours_same":
        given = batches_of_trl(len(chats.rows), configuration.effort.rows_per_step)
        return ours(folder, base, chats, configuration, name=side, given=given)
    lean = side == "trl_lean"
    return trl(folder, base, chats, configuration, name=side, precompute=lean, by_length=lean, checkpointing=lean)


def peak_bytes(side: str, folder: Path, chats: Chats, configuration: Configuration) -> int:
    """Returns the peak memory of a side in this process. Call it once, before any other computation.

    folder  has the base model
    """
    toy = Configuration.of(f"toy_{configuration.precision}_{configuration.method}")
    toy_rows, tokenizer = toy_rows_of(toy.effort.rows, toy.shape.vocabulary)
    toy_chats = _largest_blocks(toy_rows, toy)
    save_base(folder / f"toy-base-{side}", toy.shape, tokenizer)
    _run(lane_of(side, folder / f"toy-{side}", folder / f"toy-base-{side}", toy_chats, toy))
    lane = lane_of(
        side, folder / f"memory-{side}", folder / "base", _largest_blocks(chats, configuration), configuration
    )
    before = resident()["VmRSS"]
    _run(lane, loaded=forget_peak)
    return resident()["VmHWM"] - before - configuration.weight_bytes


def foretold(folder: Path, base: Path, chats: Chats, configuration: Configuration) -> dict[str, Any]:
    """Returns the peak that the trainer predicts from one and two rows, and that of a step of its largest micro-batch.

    Both are bytes of gradients, moments and live tensors above the weights.
    """
    rows_per_step = configuration.effort.rows_per_step
    stage(folder, base, chats, configuration, {"max_length": MAX_LENGTH, "micro_batch_size": "auto"})
    job = read_job(folder)
    arithmetic = models.Arithmetic.of(job.recipe)
    read = read_rows(folder / "snapshot", job.shards_of("train"), models.load_tokens(base), MAX_LENGTH)
    policy = models.load_policy(job, arithmetic)
    weights = models.trained_weights(policy)
    reading = reading_of(policy, tried(read.rows, MAX_LENGTH), arithmetic.precision)
    _, prediction = measured_micro_batch(
        reading, weights, read.rows, job.recipe, arithmetic, MAX_LENGTH, Ranks(), free=2**60, at_most=rows_per_step
    )
    longest = sorted(read.rows, key=lambda row: row.length, reverse=True)[:rows_per_step]
    own = [(row.prompt, row.completion) for row in longest]
    others = [(prompt, own[number - 1][1]) for number, (prompt, _) in enumerate(own)]

    def step() -> None:
        logprobs, _ = reading.read(own, others)
        logprobs.lp_B.sum().backward()  # type: ignore[no-untyped-call]

    peak = measured_peak(step, weights, policy, arithmetic.device) + prediction["bytes_of_gradients_and_moments"]
    return {
        "foretold_bytes": prediction["bytes_needed"],
        "peak_bytes": round(peak),
        "ratio": prediction["bytes_needed"] / peak,
    }


def _run(lane: Lane, loaded: Callable[[], None] = lambda: None) -> None:
    lane.until("loaded")
    loaded()
    for _ in range(STEPS):
        lane.until("step")
    lane.close()


def _largest_blocks(chats: Chats, configuration: Configuration) -> Chats:
    """Returns the rows of the batches with the longest rows, the longest last."""
    per_step = configuration.effort.rows_per_step
    batches = [chats.rows[start : start + per_step] for start in range(0, len(chats.rows), per_step)]
    chosen = sorted(batches, key=lambda batch: max(row.tokens for row in batch))[-STEPS:]
    return replace(chats, rows=tuple(row for batch in chosen for row in batch))


def forget_peak() -> None:
    """Resets VmHWM, the peak of resident memory (proc(5), clear_refs)."""
    Path("/proc/self/clear_refs").write_text("5")


def resident() -> dict[str, int]:
    """Returns the sizes in /proc/self/status in bytes: now (VmRSS), at the peak (VmHWM) and others."""
    lines = (line.split() for line in Path("/proc/self/status").read_text().splitlines())
    return {words[0].rstrip(":"): 1024 * int(words[1]) for words in lines if words[-1] == "kB"}
