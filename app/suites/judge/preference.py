"""Preferences of a judge between two models' outputs, each pair in both orders. Pure.

A judge favours a position: the first of two equal outputs often wins. So a pair counts only if both orders were
answered, and its share of a win is the mean of both: 1 if the candidate is preferred in both orders, ½ for two ties and
for a preference that changes with the order.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from app.statistics.bootstrap import Bootstrap, group_numbers
from app.statistics.measures import mean
from app.suites.judge.answers import Better

RESAMPLES = 2_000
CONFIDENCE = 0.95
SEED = 0
WIN, TIE, LOSS = 1.0, 0.5, 0.0


@dataclass(frozen=True)
class JudgedPair:
    """The judgement of the candidate's output against another one for the same prompt.

    share       of a win for the candidate; None if the judgement is missing
    consistent  whether both orders have the same answer; None if it is missing, or needed no judge
    missing     the reason why the judgement is missing
    """

    share: float | None
    consistent: bool | None = None
    missing: str | None = None


#: The judgement of two equal outputs, for which no judge is needed.
UNCHANGED = JudgedPair(TIE)


def in_both_orders(candidate_first: Better, candidate_second: Better) -> JudgedPair:
    """Returns the judgement of a pair from the answer in each order, named by the position of the candidate."""
    first = {"first": WIN, "tie": TIE, "second": LOSS}[candidate_first]
    second = {"first": LOSS, "tie": TIE, "second": WIN}[candidate_second]
    return JudgedPair((first + second) / 2, first == second)


def figures_of(pairs: Sequence[JudgedPair], groups: Sequence[str]) -> dict[str, Any]:
    """Returns counts and figures of judged pairs; `groups` has the prompt group of each.

    pairs, missing, unchanged       numbers; unchanged pairs are ties without a question to the judge
    win_share                       of the candidate, a tie is half a win
    position_consistency            the share of pairs with the same answer in both orders
    missing_reasons                 reason → number of pairs, the most frequent first
    """
    return {
        "pairs": len(pairs),
        "missing": sum(pair.share is None for pair in pairs),
        "unchanged": sum(pair == UNCHANGED for pair in pairs),
        "win_share": _share([pair.share for pair in pairs], groups, "no pair was judged in both orders"),
        "position_consistency": _share(
            [None if pair.consistent is None else float(pair.consistent) for pair in pairs],
            groups,
            "no pair of different outputs was judged in both orders",
        ),
        "missing_reasons": frequent_reasons(pairs),
    }


def frequent_reasons(pairs: Sequence[JudgedPair]) -> dict[str, int]:
    """Returns the number of missing judgements by reason, for the ten most frequent reasons."""
    reasons = Counter(pair.missing for pair in pairs if pair.missing is not None)
    return dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0]))[:10])


def _share(values: Sequence[float | None], groups: Sequence[str], reason: str) -> dict[str, Any]:
    """Returns the mean of the values that are not missing, with its interval over prompt groups."""
    present = [(value, group) for value, group in zip(values, groups, strict=True) if value is not None]
    if not present:
        return {"value": None, "low": None, "high": None, "reason": reason, "groups": 0}
    value_N = np.array([value for value, _ in present])
    groups_N = group_numbers([group.encode() for _, group in present])
    over_groups = Bootstrap(groups_N, np.ones(len(present)), RESAMPLES, CONFIDENCE, SEED)
    return {**over_groups.interval(mean(value_N), reason), "groups": len(np.unique(groups_N))}
