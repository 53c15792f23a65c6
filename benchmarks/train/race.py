"""Runs lanes in turn: reference passes, warm-up steps, a comparison of the losses, then timed steps.

Losses are compared after the warm-up, before the long part, and once more at the end. The first loss alone shows
nothing: the policy still equals its reference, so it is the same whatever a trainer computes.
"""

from collections.abc import Mapping, Sequence
from time import perf_counter

from benchmarks.train.configurations import Effort
from benchmarks.train.figures import Timed
from benchmarks.train.lane import Lane, Turn


class Unequal(Exception):
    """Two trainers compute different losses, so a ratio of their speeds would mean nothing."""


def race(
    lanes: Sequence[Lane], effort: Effort, *, equal: tuple[str, str] | None = None, tolerance: float = 0.0
) -> tuple[Mapping[str, Timed], float]:
    """Returns the times by lane, and the largest relative difference between the losses of `equal` over all steps.

    Raises `Unequal` if the difference exceeds `tolerance`.
    """
    warm_up = effort.warm_up
    try:
        loading = {}
        for lane in lanes:
            loading[lane.name] = lane.until("loaded")
            lane.peak_bytes = lane.held_bytes
        reference = _reference_passes(lanes)  # and each lane's first step
        for lane in lanes:
            for _ in range(warm_up - 1):
                lane.until("step")
        compared = [lane for name in equal or () for lane in lanes if lane.name == name]
        require_equal(compared, tolerance)
        turns, passes = _timed_passes(lanes, effort)
        difference = require_equal(compared, tolerance)
        return {
            lane.name: Timed(
                loading[lane.name],
                reference[lane.name],
                [turn.seconds for turn in turns[lane.name]],
                [turn.cpu_seconds for turn in turns[lane.name]],
                _in_order(lane.rows(), warm_up, passes),
                lane.losses(),
                lane.peak_bytes,
            )
            for lane in lanes
        }, difference
    finally:
        for lane in lanes:
            lane.close()


def require_equal(lanes: Sequence[Lane], tolerance: float) -> float:
    """Returns the largest relative difference of the losses of two lanes so far; 0 without lanes. Raises `Unequal`."""
    if not lanes:
        return 0.0
    ours, theirs = (lane.losses() for lane in lanes)
    difference = largest_difference(ours, theirs)
    if not difference <= tolerance:
        raise Unequal(f"losses differ by {difference:.1e}, more than {tolerance:.0e}: {ours} and {theirs}")
    return difference


def largest_difference(ours: Sequence[float], theirs: Sequence[float]) -> float:
    return max(abs(a - b) / abs(b) for a, b in zip(ours, theirs, strict=True))


def _reference_passes(lanes: Sequence[Lane]) -> dict[str, float]:
    """Runs the reference passes in turn, up to each lane's first warm-up step; returns the seconds by lane."""
    seconds = {lane.name: 0.0 for lane in lanes}
    waiting = list(lanes)
    while waiting:
        for lane in list(waiting):
            turn = lane.advance()
            if turn.event == "step":
                waiting.remove(lane)
            else:
                seconds[lane.name] += turn.seconds
    return seconds


def _timed_passes(lanes: Sequence[Lane], effort: Effort) -> tuple[dict[str, list[Turn]], int]:
    """Runs the timed steps; returns them by lane, and the number of their epochs."""
    turns: dict[str, list[Turn]] = {lane.name: [] for lane in lanes}
    blocks = len(lanes[0].rows())
    started = perf_counter()
    for done in range(effort.passes):
        if done and (perf_counter() - started) * (done + 1) / done > effort.seconds:
            return turns, done
        for number in range(blocks):
            for lane in lanes if number % 2 == 0 else reversed(lanes):
                turns[lane.name].append(_step(lane))
    return turns, effort.passes


def _step(lane: Lane) -> Turn:
    turn = lane.advance()
    assert turn.event == "step", f"{lane.name} is training, its events are steps"
    return turn


def _in_order(blocks: Sequence[Sequence[int]], warm_up: int, passes: int) -> Sequence[Sequence[int]]:
    """Returns the blocks of the timed steps, which follow the warm-up and repeat with each epoch."""
    return [blocks[(warm_up + number) % len(blocks)] for number in range(passes * len(blocks))]
