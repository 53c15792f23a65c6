"""Figures of a replay: answers that users judged, beside what models write now for the same prompts. Pure.

    repeated  the share of disliked answers that a model gives again
    kept      the share of liked answers that it gives again
    mended    the share of disliked answers to which a judge prefers the model's reply, in both orders
    broken    the share of liked answers that a judge prefers to the model's reply, in both orders

Each has the share of the candidate and that of the shipped checkpoint, with Wilson's interval, as each answer has a
prompt of its own; and the difference of the candidate to the shipped checkpoint, by bootstrap over the answers. What is
not known of an answer (NaN) is left out.

Legend: N answers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan
from typing import Any

import numpy as np

from app.statistics.bootstrap import Bootstrap, paired_difference
from app.statistics.measures import Array
from app.statistics.shares import wilson
from app.suites.figures import Intervals
from app.suites.judge.preference import LOSS, WIN, JudgedPair, frequent_reasons

#: The models whose replies are compared with the answers.
MODELS = ("candidate", "shipped")
#: Reasons for missing figures.
NOT_REPLAYED, NOT_JUDGED = "no such answer was replayed", "the judge compared no such answer in both orders"


@dataclass(frozen=True)
class Reply:
    text: str
    finished: bool


@dataclass(frozen=True)
class ReplayedAnswer:
    """An answer that users judged.

    held_out   whether its prompt is held out from training
    replies    the reply of each of `MODELS` to its prompt
    """

    text: str
    desirable: bool
    held_out: bool
    replies: Mapping[str, Reply]


def figures_of(answers: Sequence[ReplayedAnswer], intervals: Intervals) -> dict[str, Any]:
    """Returns the figures that need no judge, and the number of answers of each class: `answers`, and `held_out`,
    those with held-out prompts.
    """
    of_class = {
        "disliked": [answer for answer in answers if not answer.desirable],
        "liked": [answer for answer in answers if answer.desirable],
    }
    again = {
        name: {model: np.array([_again(answer, model) for answer in chosen], dtype=float) for model in MODELS}
        for name, chosen in of_class.items()
    }
    return {
        "answers": {name: len(chosen) for name, chosen in of_class.items()},
        "held_out": {name: sum(answer.held_out for answer in chosen) for name, chosen in of_class.items()},
        "repeated": _compared(again["disliked"], NOT_REPLAYED, intervals),
        "kept": _compared(again["liked"], NOT_REPLAYED, intervals),
    }


def judged_figures_of(
    desirable: Sequence[bool], judged: Mapping[str, Sequence[JudgedPair]], intervals: Intervals
) -> dict[str, Any]:
    """Returns the figures of a judge, and how many judgements are missing, and why.

    desirable  the label of each answer
    judged     for each of `MODELS`, the judgement of its reply to each prompt against the answer
    """
    disliked_N = ~np.array(desirable, dtype=bool)
    mended, broken = (
        {model: np.array([_won(pair, share) for pair in judged[model]], dtype=float) for model in MODELS}
        for share in (WIN, LOSS)
    )
    return {
        "mended": _compared({model: mended[model][disliked_N] for model in MODELS}, NOT_JUDGED, intervals),
        "broken": _compared({model: broken[model][~disliked_N] for model in MODELS}, NOT_JUDGED, intervals),
        "missing": {model: sum(pair.share is None for pair in judged[model]) for model in MODELS},
        "missing_reasons": frequent_reasons([pair for model in MODELS for pair in judged[model]]),
    }


def _again(answer: ReplayedAnswer, model: str) -> float:
    """Returns 1 if the model's reply has the words of the answer, else 0; NaN if it was cut off before they differ."""
    reply = answer.replies[model]
    written, given = " ".join(reply.text.split()), " ".join(answer.text.split())
    if not reply.finished and given != written and given.startswith(written):
        return nan
    return float(written == given)


def _won(pair: JudgedPair, share: float) -> float:
    return nan if pair.share is None else float(pair.share == share)


def _compared(claims: Mapping[str, Array], reason: str, intervals: Intervals) -> dict[str, Any]:
    """Returns the share of each model and the difference. `claims`: 1, 0 or NaN for each answer, by model."""
    candidate_N, shipped_N = (claims[model] for model in MODELS)
    over_answers = Bootstrap(
        np.arange(len(candidate_N)), np.ones(len(candidate_N)),
        intervals.resamples, intervals.confidence, intervals.seed,
    )  # fmt: skip
    compared = paired_difference(over_answers, candidate_N, shipped_N)
    difference = {name: compared[name] for name in ("value", "low", "high", "groups")}
    return {
        **{model: _share(claims[model], reason, intervals) for model in MODELS},
        "difference": difference if difference["groups"] else {**difference, "reason": reason},
    }


def _share(claim_N: Array, reason: str, intervals: Intervals) -> dict[str, Any]:
    known_N = claim_N[~np.isnan(claim_N)]
    interval = wilson(float(known_N.sum()), len(known_N), intervals.confidence)
    if interval is None:
        return {"value": None, "low": None, "high": None, "groups": 0, "reason": reason}
    return {"value": float(known_N.mean()), "low": interval[0], "high": interval[1], "groups": len(known_N)}
