"""Describes the training rows, and advises how the recipe best balances their classes. Pure.

A recipe has two ways: `weights` gives each class its λ, so that λ_D·W_D / (λ_U·W_U), with W the summed row weights,
lies in `thumbwheel.wire.recipe_resolution.BALANCE_BAND`; `batch` takes half of each step's rows from each class,
repeating rows of the rarer one, with λ = 1. The same ratio is then that of the mean row weights.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import fsum, inf
from typing import Literal

from thumbwheel import wire
from thumbwheel.wire.recipe import Recipe, WeighUp
from thumbwheel.wire.recipe_resolution import BALANCE_BAND, balanced_lambdas

from app.snapshots.balance.enough import ClassTally

#: A class with a smaller share of the rows than this is better repeated than weighted: over a tenth of the
#: micro-batches of 8 rows would have only one class.
RARE = 0.25
#: The number of segments of a kind that are listed one by one, the largest first.
SEGMENTS = 30
OTHERS = "others"


@dataclass(frozen=True)
class Cell:
    """Training rows with one checkpoint, reason and label: number, sum of weights, sum of squared weights."""

    checkpoint: str | None
    reason: str
    desirable: bool
    rows: int
    weight: float
    squares: float


def plan(
    cells: Iterable[Cell], *, pairs: int, weigh_up: WeighUp = Recipe.model_fields["weigh_up"].default
) -> wire.BalancePlan:
    """Returns the plan of all training rows, given as cells in any order. It is the same for every objective; the
    advice concerns the objectives that learn from classes.

    `balance_by_weights` and `balance_by_batch` are the ratio above in the two ways. These, λ and `advised` are None
    unless both classes have rows.
    """
    known = sorted(cells, key=lambda cell: (cell.checkpoint or "", cell.reason, cell.desirable))
    up, down = (_class([cell for cell in known if cell.desirable is desirable]) for desirable in (True, False))
    segments = [*_segments("checkpoint", known), *_segments("reason", known)]
    if not (0 < up.weight < inf and 0 < down.weight < inf):
        return wire.BalancePlan(
            desirable=up,
            undesirable=down,
            pairs=pairs,
            segments=segments,
            lambda_desirable=None,
            lambda_undesirable=None,
            balance_by_weights=None,
            balance_by_batch=None,
            advised=None,
            because="the training rows are not of both classes",
        )
    for_up, for_down = balanced_lambdas(up.weight, down.weight, weigh_up)
    by_batch = (up.weight / up.rows) / (down.weight / down.rows)
    advised, because = _advised(up, down, by_batch)
    return wire.BalancePlan(
        desirable=up,
        undesirable=down,
        pairs=pairs,
        segments=segments,
        lambda_desirable=for_up,
        lambda_undesirable=for_down,
        balance_by_weights=for_up * up.weight / (for_down * down.weight),
        balance_by_batch=by_batch,
        advised=advised,
        because=because,
    )


def tally_of(plan: wire.BalancePlan) -> ClassTally:
    """Returns the counts and weights that `app.snapshots.balance.enough` judges."""
    up, down = plan.desirable, plan.undesirable
    return ClassTally(up.rows, down.rows, up.weight, down.weight, plan.pairs)


def _advised(up: wire.ClassPlan, down: wire.ClassPlan, by_batch: float) -> tuple[Literal["weights", "batch"], str]:
    rare = "desirable" if up.rows < down.rows else "undesirable"
    share = min(up.rows, down.rows) / (up.rows + down.rows)
    if share >= RARE:
        return "weights", (
            f"{rare} rows are {share:.0%} of all: most micro-batches have both classes, an epoch reads every row once, "
            "and λ makes up for the rest"
        )
    if not BALANCE_BAND[0] * (1 - 1e-9) <= by_batch <= BALANCE_BAND[1]:
        return "weights", (
            f"{rare} rows are only {share:.0%} of all, but half a batch of each class would weigh {by_batch:.2f} to 1, "
            "as their rows differ in weight: outside of 1 to 4/3"
        )
    size = Recipe.model_fields["micro_batch_size"].default
    alone = (1 - share) ** size + share**size
    return "batch", (
        f"{rare} rows are only {share:.0%} of all: {alone:.0%} of micro-batches of {size} rows would have one class "
        f"alone; an epoch then reads {2 * max(up.rows, down.rows)} rows instead of {up.rows + down.rows}"
    )


def _class(cells: Sequence[Cell]) -> wire.ClassPlan:
    """Returns the rows of a class, with their effective sample size (Σw)² / Σw² (Kish, Survey Sampling, 1965)."""
    weight, squares = fsum(cell.weight for cell in cells), fsum(cell.squares for cell in cells)  # in any order
    effective = weight**2 / squares if squares > 0 else 0.0
    return wire.ClassPlan(rows=sum(cell.rows for cell in cells), weight=weight, effective=effective)


def _segments(by: Literal["checkpoint", "reason"], cells: Sequence[Cell]) -> list[wire.Segment]:
    """Returns the largest segments, largest first, and one segment for the rest."""
    parts: dict[str | None, list[Cell]] = {}
    for cell in cells:
        parts.setdefault(getattr(cell, by), []).append(cell)
    largest = sorted(parts, key=lambda name: (-sum(cell.rows for cell in parts[name]), name or ""))
    listed = [_segment(by, name, parts[name]) for name in largest[:SEGMENTS]]
    rest = [cell for name in largest[SEGMENTS:] for cell in parts[name]]
    return [*listed, _segment(by, OTHERS, rest)] if rest else listed


def _segment(by: Literal["checkpoint", "reason"], name: str | None, cells: Sequence[Cell]) -> wire.Segment:
    up, down = (_class([cell for cell in cells if cell.desirable is desirable]) for desirable in (True, False))
    return wire.Segment(
        by=by,
        name=name,
        desirable=up.rows,
        undesirable=down.rows,
        weight_desirable=up.weight,
        weight_undesirable=down.weight,
    )
