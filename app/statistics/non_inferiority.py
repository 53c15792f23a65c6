"""Verdicts from an interval and its bounds: not worse by more than a margin, or within a range. Pure.

    passed       the whole interval keeps the bounds
    refused      the whole interval breaks one of them
    undecided    the interval reaches across a bound: too little data; or a number is missing, NaN or infinite

With an interval of confidence 1 − α, a candidate exactly at a bound passes with probability α/2 at most, and is refused
with probability α/2 at most (Piaggio et al., JAMA 308, 2012, p. 2594; two bounds: Schuirmann, Journal of
Pharmacokinetics and Biopharmaceutics 15, 1987, p. 657). "Not significantly worse" is no substitute: with little data it
passes everything.
"""

from math import inf, isfinite
from typing import Literal

from app.statistics.power import enough_groups, standard_error_of_interval

Verdict = Literal["passed", "refused", "undecided"]


def verdict(low: float | None, high: float | None, *, at_least: float = -inf, at_most: float = inf) -> Verdict:
    """Returns the verdict on the interval [low, high], which must lie within [at_least, at_most].

    Undecided, too, without any finite bound, or if `low` is above `high`.
    """
    if low is None or high is None or not (isfinite(low) and isfinite(high) and low <= high):
        return "undecided"
    if not (at_least <= at_most and (isfinite(at_least) or isfinite(at_most))):
        return "undecided"
    if at_least <= low and high <= at_most:
        return "passed"
    return "refused" if high < at_least or low > at_most else "undecided"


def not_worse(low: float | None, high: float | None, margin: float, *, lower_is_better: bool = False) -> Verdict:
    """Returns the verdict on a candidate whose difference from what it is compared with has the interval [low, high].

    It passes if it is worse by `margin` at most. A negative margin demands that it is better by that much.
    """
    return verdict(low, high, at_most=margin) if lower_is_better else verdict(low, high, at_least=-margin)


def groups_to_pass(
    low: float | None,
    high: float | None,
    groups: int,
    *,
    expected: float,
    at_least: float = -inf,
    at_most: float = inf,
    confidence: float = 0.95,
    power: float = 0.8,
) -> int | None:
    """Returns the number of groups with which a candidate whose true figure is `expected` passes with this power.

    low, high    the interval that `groups` groups gave: its width tells how much the figure varies
    expected     0 for a difference from what is shipped, if the candidate is assumed to be as good

    None if the interval is missing or has no width, or if `expected` does not lie inside the bounds: such a candidate
    will not pass with any number of groups. With two bounds, each may take half of the failures (Bonferroni).
    """
    if low is None or high is None:
        return None
    room = min(expected - at_least, at_most - expected)
    if not room > 0:
        return None
    both = isfinite(at_least) and isfinite(at_most)
    return enough_groups(
        room,
        standard_error_of_interval(low, high, confidence),
        groups,
        alpha=1 - confidence,
        power=(1 + power) / 2 if both else power,
    )
