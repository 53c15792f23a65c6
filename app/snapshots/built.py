"""A built snapshot, and the forecast of one."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from thumbwheel import wire

from app.snapshots.balance.plan import Cell
from app.snapshots.balance.spread import Spread
from app.snapshots.selection.pairs import Source


@dataclass(frozen=True)
class Built:
    """A registered snapshot, with the summed weights of its training rows by class, which resolve the recipe.
    `origin`: of this build; the snapshot may have been registered by an earlier one."""

    id: UUID
    manifest: dict[str, Any]
    origin: dict[str, Any]
    files: dict[str, str]  # path -> sha256
    weight_desirable: float
    weight_undesirable: float


@dataclass(frozen=True)
class Forecast:
    """The contents that a snapshot would have.

    counts      rows before equal ones are collapsed
    new         those of them with new signals
    pairs       training pairs by source
    holdout     the held-out rows
    spread      how the training rows spread over prompts and actors
    ages        how old the feedback on the training rows is
    quarantine  votes that do not count
    """

    counts: wire.ClassCounts
    new: wire.ClassCounts
    cells: list[Cell]
    pairs: dict[Source, int]
    capped: int
    holdout: wire.HoldoutForecast
    spread: Spread
    ages: wire.FeedbackAges
    quarantine: wire.QuarantineForecast
