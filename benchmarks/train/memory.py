"""Peak memory of one lane alone, in a process of its own: two steps, the second on the largest block there is.

Counted is the resident memory of the process at its highest between loading and the end of the second step (reference
pass, activations, gradients, optimizer, a second model where there is one), less what the process held before the model
was loaded, less one copy of the weights. A toy lane runs first: libraries and their buffers are in that baseline. On a
GPU it is the memory of the framework's allocator, counted by lane in `lane`, and needs no process.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from benchmarks.train.base import save_base
from benchmarks.train.configurations import Configuration
from benchmarks.train.lane import Lane
from benchmarks.train.ours import batches_of_trl, ours
from benchmarks.train.rows import Chats, word_tokenizer
from benchmarks.train.theirs import trl

STEPS = 2


def lane_of(side: str, folder: Path, base: Path, chats: Chats, configuration: Configuration) -> Lane:
    """`side`: trl and ours_same as in a race; trl_lean precomputes the reference and computes activations twice."""
    if side == "ours_same":
        given = batches_of_trl(len(chats.rows), configuration.effort.rows_per_step)
        return ours(folder, base, chats, configuration, name=side, given=given)
    lean = side == "trl_lean"
    return trl(folder, base, chats, configuration, name=side, precompute=lean, by_length=lean, checkpointing=lean)


def peak_bytes(side: str, folder: Path, chats: Chats, configuration: Configuration) -> int:
    """`folder` holds the base model. Of this process: call it once, before anything else is computed."""
    toy = Configuration.of(f"toy_{configuration.precision}_{configuration.method}")
    toy_chats = _largest_blocks(chats, toy)
    save_base(folder / f"toy-base-{side}", toy.shape, word_tokenizer(toy.shape.vocabulary))
    _run(lane_of(side, folder / f"toy-{side}", folder / f"toy-base-{side}", toy_chats, toy))
    lane = lane_of(
        side, folder / f"memory-{side}", folder / "base", _largest_blocks(chats, configuration), configuration
    )
    before = resident()["VmRSS"]
    _run(lane, loaded=forget_peak)
    return resident()["VmHWM"] - before - configuration.weight_bytes


def _run(lane: Lane, loaded: Callable[[], None] = lambda: None) -> None:
    lane.until("loaded")
    loaded()
    for _ in range(STEPS):
        lane.until("step")
    lane.close()


def _largest_blocks(chats: Chats, configuration: Configuration) -> Chats:
    """Rows of the batches that have the longest rows, the longest last."""
    per_step = configuration.effort.rows_per_step
    batches = [chats.rows[start : start + per_step] for start in range(0, len(chats.rows), per_step)]
    chosen = sorted(batches, key=lambda batch: max(row.tokens for row in batch))[-STEPS:]
    return replace(chats, rows=tuple(row for batch in chosen for row in batch))


def forget_peak() -> None:
    """From here on VmHWM is counted anew (proc(5), clear_refs)."""
    Path("/proc/self/clear_refs").write_text("5")


def resident() -> dict[str, int]:
    """Bytes, now (VmRSS) and at most (VmHWM)."""
    lines = (line.split() for line in Path("/proc/self/status").read_text().splitlines())
    return {words[0].rstrip(":"): 1024 * int(words[1]) for words in lines if words[-1] == "kB"}
