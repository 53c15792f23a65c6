"""Reads figures and counts from scores; whatever is missing, NaN or infinite has no value. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from statistics import NormalDist
from typing import Any

#: Coverage of the intervals of scores that do not state it.
USUAL_CONFIDENCE = 0.95


@dataclass(frozen=True)
class ScoreFigure:
    """A value with its interval and the number of groups that it rests on; None for each that is unknown."""

    value: float | None
    low: float | None
    high: float | None
    groups: int | None
    missing: str | None = None  # the scorer's reason for a missing value

    @property
    def known(self) -> bool:
        """Returns whether value and interval are known, and rest on at least one group."""
        return None not in (self.value, self.low, self.high) and self.groups != 0


def section_of(scores: Mapping[str, Any], path: Sequence[str]) -> Any:
    """Returns what the scores have at `path`, None if there is nothing."""
    value: Any = scores
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def count_of(section: Any) -> int | None:
    """Returns a count, None if it is none."""
    number = _number(section)
    return None if number is None or number < 0 else int(number)


def figure_of(section: Any, groups: int | None, *, interval: bool = True) -> ScoreFigure:
    """Returns the figure of a section of the scores. A figure without an interval is its value alone.

    groups   the number of groups, unless the section has it
    """
    if not interval:
        value = _number(section)
        return ScoreFigure(value, value, value, groups)
    if not isinstance(section, Mapping):
        return ScoreFigure(None, None, None, groups)
    own = count_of(section.get("groups"))
    value, low, high = (_number(section.get(name)) for name in ("value", "low", "high"))
    reason = section.get("reason")
    return ScoreFigure(value, low, high, groups if own is None else own, reason if isinstance(reason, str) else None)


def with_confidence(figure: ScoreFigure, given: float, wanted: float) -> ScoreFigure:
    """Returns the figure with an interval of confidence `wanted`, derived from the one of confidence `given`.

    Each half of the interval is taken as z standard errors of a normal distribution and stretched to the z of `wanted`:
    low becomes value − (value − low)·z_wanted/z_given, and high accordingly. A percentile interval at another
    confidence would need the resamples, which scores do not keep.
    """
    if wanted == given or figure.value is None or figure.low is None or figure.high is None:
        return figure
    stretch = _z(wanted) / _z(given)
    low = figure.value - (figure.value - figure.low) * stretch
    high = figure.value + (figure.high - figure.value) * stretch
    return ScoreFigure(figure.value, low, high, figure.groups, figure.missing)


def confidence_of(scores: Mapping[str, Any]) -> float:
    """Returns the coverage of the intervals in the scores."""
    number = _number(scores.get("confidence"))
    return number if number is not None and 0 < number < 1 else USUAL_CONFIDENCE


def _z(confidence: float) -> float:
    return NormalDist().inv_cdf((1 + confidence) / 2)


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        return None
    return float(value)
