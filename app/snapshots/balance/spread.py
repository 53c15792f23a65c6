"""Measures how the rows of a snapshot spread over prompts and actors, and counts the held-out rows. Pure."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from thumbwheel import wire

from app.snapshots.selection.candidates import Candidates
from app.snapshots.selection.selected_rows import SPLITS, TRAIN, Selection

#: With fewer training prompts or actors than these, a notice says so.
FEW_PROMPTS, FEW_ACTORS = 50, 5
#: An actor with more of the training weight than this decides nearly alone.
LARGE_SHARE = 0.5


@dataclass(frozen=True)
class Spread:
    """The number of distinct prompts and of actors behind the training rows, and the largest share of the weight, 0 to
    1, that one actor contributed to.
    """

    prompts: int
    actors: int
    largest_share: float


def spread_of(selection: Selection, candidates: Candidates) -> Spread:
    """Returns how the training rows spread."""
    train = selection.split == TRAIN
    weight = float(selection.weight[train].sum())
    row, actor = selection.members
    of_train = train[row]
    by_actor = np.bincount(actor[of_train], selection.weight[row[of_train]])
    return Spread(
        prompts=_prompts(selection, candidates, train),
        actors=int(np.count_nonzero(by_actor)),
        largest_share=float(by_actor.max(initial=0.0) / weight) if weight > 0 else 0.0,
    )


def holdout_of(selection: Selection, candidates: Candidates) -> wire.HoldoutForecast:
    """Returns the counts of the held-out rows, on which the gates are evaluated."""
    held_out = selection.split == SPLITS.index("holdout")
    tally = selection.tallies["holdout"]
    return wire.HoldoutForecast(
        desirable=tally.desirable, undesirable=tally.undesirable, prompts=_prompts(selection, candidates, held_out)
    )


def notices(spread: Spread, quarantine: wire.QuarantineForecast) -> list[str]:
    """Returns notices, each with a remedy, about data that stops no run and may spoil its result."""
    lines = []
    if 0 < spread.prompts < FEW_PROMPTS:
        lines.append(
            f"the training rows are about {spread.prompts} prompts: a model learns few prompts by heart; collect "
            "feedback on more of them"
        )
    if 0 < spread.actors < FEW_ACTORS:
        lines.append(
            f"all training rows are the judgement of {spread.actors} {'actor' if spread.actors == 1 else 'actors'}: "
            "collect feedback of more people"
        )
    if spread.actors > 1 and spread.largest_share > LARGE_SHARE:
        lines.append(
            f"one actor has a part in {spread.largest_share:.0%} of the training weight: lower guards.influence.actor "
            "in the label policy, or collect feedback of more people"
        )
    if quarantine.votes:
        reasons = ", ".join(f"{reason} {count}" for reason, count in quarantine.reasons.items())
        lines.append(
            f"{quarantine.votes} votes of {quarantine.actors} {'actor' if quarantine.actors == 1 else 'actors'} do not "
            f"count, in quarantine ({reasons}): see them with `thumbwheel quarantine list`, and have them count with "
            "`thumbwheel quarantine release ACTOR`"
        )
    return lines


def _prompts(selection: Selection, candidates: Candidates, chosen: NDArray[np.bool_]) -> int:
    return len(np.unique(candidates.prompt[selection.candidate[chosen]]))
