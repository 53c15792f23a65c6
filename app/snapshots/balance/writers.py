"""Measures who wrote the training rows of a snapshot, and how old the feedback on them is. Pure.

Feedback on what another model wrote says less about the model that is trained: the more so, the further the two differ.
"""

from collections.abc import Callable, Iterable
from math import fsum
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from thumbwheel import wire

from app.labels.policy import EDITED_TEXT
from app.snapshots.balance.plan import Cell
from app.snapshots.selection.candidates import Candidates
from app.snapshots.selection.selected_rows import TRAIN, Selection

#: A notice warns where other models wrote more of the training weight than this.
LARGE_SHARE = 0.5
MICROSECONDS_OF_A_DAY = 86_400_000_000


def writers_of(cells: Iterable[Cell], reference: UUID | None, ages: wire.FeedbackAges) -> wire.Writers:
    """Returns the training rows, given as cells in any order, by who wrote them.

    reference  id of the checkpoint that a run would measure against: the shipped one
    """
    known, name = list(cells), None if reference is None else str(reference)
    rows, weight = sum(cell.rows for cell in known), fsum(cell.weight for cell in known)

    def part(chosen: Callable[[Cell], bool]) -> wire.WrittenRows:
        own = [cell for cell in known if chosen(cell)]
        own_rows, own_weight = sum(cell.rows for cell in own), fsum(cell.weight for cell in own)
        return wire.WrittenRows(
            desirable=sum(cell.rows for cell in own if cell.desirable),
            undesirable=sum(cell.rows for cell in own if not cell.desirable),
            weight=own_weight,
            share_of_rows=own_rows / rows if rows else 0.0,
            share_of_weight=own_weight / weight if weight > 0 else 0.0,
        )

    def of_model(cell: Cell) -> bool:
        return cell.reason != EDITED_TEXT

    return wire.Writers(
        reference_checkpoint_id=reference,
        reference=part(lambda cell: of_model(cell) and cell.checkpoint is not None and cell.checkpoint == name),
        others=part(lambda cell: of_model(cell) and cell.checkpoint is not None and cell.checkpoint != name),
        people=part(lambda cell: not of_model(cell)),
        unknown=part(lambda cell: of_model(cell) and cell.checkpoint is None),
        age_days=ages,
    )


def ages_of(selection: Selection, candidates: Candidates) -> wire.FeedbackAges:
    """Returns the ages of the training rows."""
    moment = candidates.moment[selection.candidate]
    return ages_from(moment[selection.split == TRAIN], newest=int(moment.max(initial=0)))


def ages_from(moment: NDArray[np.int64], *, newest: int) -> wire.FeedbackAges:
    """Returns quantiles of the time from each moment to `newest`; all are in µs since 1970, 0 if unknown."""
    timed = moment[moment > 0]
    without_time = len(moment) - len(timed)
    if not len(timed):
        return wire.FeedbackAges(p10=None, median=None, p90=None, oldest=None, without_time=without_time)
    # Each quantile is the age of a row, so that equal rows give equal numbers on every machine.
    ages = np.quantile(newest - timed, [0.1, 0.5, 0.9, 1.0], method="inverted_cdf")
    p10, median, p90, oldest = (round(age / MICROSECONDS_OF_A_DAY, 2) for age in ages.tolist())
    return wire.FeedbackAges(p10=p10, median=median, p90=p90, oldest=oldest, without_time=without_time)


def notices(writers: wire.Writers, minimum_per_class: int) -> list[str]:
    """Returns a notice with a remedy if other models than the live one wrote most of the training weight."""
    live, others = writers.reference, writers.others
    if writers.reference_checkpoint_id is None or not others.share_of_weight > LARGE_SHARE:
        return []
    fact = (
        f"only {live.share_of_weight:.0%} of the training weight was written by the checkpoint that is live, "
        f"{others.share_of_weight:.0%} by other checkpoints: feedback on them says less about this one"
    )
    left = f"{live.desirable} desirable and {live.undesirable} undesirable training rows"
    if min(live.desirable, live.undesirable) >= minimum_per_class:
        remedy = f"set snapshot.events to shipped, which leaves about {left}, or collect more feedback on this one"
    else:
        remedy = (
            f"collect more feedback on this one: it has {left}, too few to set snapshot.events to shipped "
            f"(snapshot.minimum_per_class is {minimum_per_class})"
        )
    return [f"{fact}; {remedy}"]
