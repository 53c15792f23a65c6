"""The points of a sweep: grid, random draws, and the halving that promotes the best ones. Pure.

A point maps recipe fields to values; `lora.rank` is the field of a section.
"""

import random
from collections.abc import Mapping, Sequence
from itertools import product
from math import exp, inf, isfinite, log
from typing import Any, NamedTuple

from thumbwheel import wire
from thumbwheel.wire.comparisons import MOST_RUNS

from app.errors import Fault, Invalid

Point = dict[str, Any]
#: Characters of a point's name. Longer names are numbered instead.
LONGEST_NAME = 63


def points_of(sweep: wire.NewSweep) -> list[Point]:
    """Returns the points of a sweep without repetitions. Raises `Invalid` if they are too many for one job."""
    points = _grid(sweep) if sweep.points is None else random_points(sweep.space, sweep.points, sweep.seed)
    runs = runs_of(len(points), sweep)
    if runs > MOST_RUNS:
        what = f"{len(points)} points in {len(sweep.rungs)} rungs" if sweep.rungs else f"{len(points)} points"
        message = f"{what} by {sweep.seeds} seeds make {runs} runs, {MOST_RUNS} are the most: take fewer values"
        raise Invalid(f"space: {message}.", code="too_many_runs", faults=[Fault("/space", message)])
    return points


def runs_of(points: int, sweep: wire.NewSweep) -> int:
    """Returns the number of runs of all rungs."""
    return sweep.seeds * sum(survivors(points, rung, sweep.keep) for rung in range(max(1, len(sweep.rungs))))


def survivors(points: int, rung: int, keep: int) -> int:
    """Returns the number of points in a rung: ⌈points / keepʳᵘⁿᵍ⌉."""
    return -(-points // keep**rung)


def grid_size(space: Mapping[str, Any]) -> int:
    """Returns the number of combinations."""
    size = 1
    for values in space.values():
        size *= len(values)
    return size


def _grid(sweep: wire.NewSweep) -> list[Point]:
    lists = {name: _distinct(values) for name, values in sweep.space.items() if isinstance(values, list)}
    if grid_size(lists) > MOST_RUNS:
        message = f"{grid_size(lists)} combinations are more than the {MOST_RUNS} runs of a job: take fewer values"
        raise Invalid(f"space: {message}, or search random.", code="too_many_runs", faults=[Fault("/space", message)])
    return [dict(zip(lists, values, strict=True)) for values in product(*lists.values())]


def random_points(space: Mapping[str, Any], points: int, seed: int) -> list[Point]:
    """Returns up to `points` different points. The same seed gives the same points; more points begin with these."""
    generator = random.Random(seed)
    drawn: list[Point] = []
    for _ in range(100 * points):  # a small space may have fewer points than are wanted
        point = {name: _drawn(values, generator) for name, values in space.items()}
        if point not in drawn:
            drawn.append(point)
        if len(drawn) == points:
            break
    return drawn


def _drawn(values: Any, generator: random.Random) -> Any:
    if not isinstance(values, wire.ValueRange):
        return values[generator.randrange(len(values))]
    if values.scale == "log":
        number = exp(generator.uniform(log(values.low), log(values.high)))
    else:
        number = generator.uniform(values.low, values.high)
    return min(max(float(f"{number:.3g}"), values.low), values.high)


def _distinct(values: Sequence[Any]) -> list[Any]:
    return [value for number, value in enumerate(values) if value not in values[:number]]


def changes_of(point: Mapping[str, Any]) -> dict[str, Any]:
    """Returns ``{"beta": 0.3, "lora": {"rank": 8}}`` for ``{"beta": 0.3, "lora.rank": 8}``."""
    changes: dict[str, Any] = {}
    for path, value in point.items():
        section, _, field = path.rpartition(".")
        (changes.setdefault(section, {}) if section else changes)[field] = value
    return changes


def names_of(points: Sequence[Point]) -> list[str]:
    """Returns a name for each point: its fields with their values, or its number where that would be too long."""
    names = [",".join(f"{name}={_word(value)}" for name, value in point.items()) for point in points]
    usable = all(len(name) <= LONGEST_NAME for name in names) and len(set(names)) == len(names)
    return names if usable else [f"point-{number}" for number in range(1, len(points) + 1)]


def _word(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


class Scored(NamedTuple):
    """A point after a rung. `auroc` and `kl` are None if its runs gave no figure.

    kl  the upper bound of the drift from the reference
    """

    arm: int
    auroc: float | None
    kl: float | None


def promoted(scored: Sequence[Scored], count: int, kl_budget: float) -> list[int]:
    """Returns the arms that go on to the next rung, in their order: those with the highest held-out AUROC.

    Arms beyond the KL budget come after all within it, the closest first; arms without a figure never go on. Of equal
    arms the earlier one goes on.
    """
    usable = [each for each in scored if _is_number(each.auroc)]
    best = sorted(usable, key=lambda each: (_excess(each.kl, kl_budget), -_number(each.auroc), each.arm))
    return sorted(each.arm for each in best[:count])


def _excess(kl: float | None, budget: float) -> float:
    """Returns how far the drift is beyond the budget: 0 within it, infinity if it is unknown."""
    if kl is None or not isfinite(kl):
        return inf
    return max(0.0, kl - budget)


def _is_number(value: float | None) -> bool:
    return value is not None and isfinite(value)


def _number(value: float | None) -> float:
    assert value is not None
    return value
