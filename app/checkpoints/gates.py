"""The gates: what evaluation must show before a checkpoint may ship. Pure.

Every comparison is written so that a missing figure or NaN refuses.
"""

from collections.abc import Mapping
from math import isnan, nan
from typing import Any

from thumbwheel import wire


def reasons_to_refuse(gates: wire.Gates, scores: Mapping[str, Any]) -> list[str]:
    """Why a checkpoint with `scores` (worker/evaluation/score.py) must not ship; empty where it may.

    Each reason names the figure, the limit and the remedy.
    """
    reasons = []
    auroc = _figure(scores, "auroc")
    if not _bound(auroc, "low") > gates.auroc_above:
        reasons.append(
            f"auroc: the lower bound on held-out feedback is {_shown(auroc, 'low')}, it must lie above "
            f"{gates.auroc_above:g}: collect more feedback, or train longer or with a higher learning rate"
        )
    difference = _figure(scores, "auroc_difference")
    if not _bound(difference, "low") >= -gates.non_inferiority_margin:
        reasons.append(
            f"auroc_difference: against the shipped checkpoint the lower bound is {_shown(difference, 'low')}, it must "
            f"be {-gates.non_inferiority_margin:g} at least: collect more held-out feedback to narrow the interval, or "
            "keep what is shipped"
        )
    # The upper bound, as the lower one above: a budget holds only if it holds at the interval's bad end.
    drift = _figure(_figure(scores, "kl"), "nats_per_token")
    if not _bound(drift, "high") <= gates.kl_nats_per_token:
        reasons.append(
            f"kl.nats_per_token: the upper bound of the drift from the reference is {_shown(drift, 'high')} nats, the "
            f"budget is {gates.kl_nats_per_token:g}: raise beta, lower the learning rate or train fewer epochs"
        )
    return reasons


def _figure(figures: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = figures.get(name)
    return found if isinstance(found, Mapping) else {}


def _bound(figure: Mapping[str, Any], name: str) -> float:
    """NaN where there is none."""
    value = figure.get(name)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else nan


def _shown(figure: Mapping[str, Any], bound: str) -> str:
    value = _bound(figure, bound)
    return f"unknown ({figure.get('reason') or 'the scorer gave none'})" if isnan(value) else f"{value:.3f}"
