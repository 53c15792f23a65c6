"""Evaluates the gates, which decide whether a checkpoint may ship. Pure.

Every comparison is written so that a missing figure or NaN refuses.
"""

from collections.abc import Mapping, Sequence
from math import isnan, nan
from typing import Any

from thumbwheel import wire


def reasons_to_refuse(gates: wire.Gates, scores: Mapping[str, Any], training: Mapping[str, Any]) -> list[str]:
    """Returns the reasons why a checkpoint must not ship, empty if it may.

    scores      the figures of worker/evaluation/score.py
    training    the trainer's summary, with its findings after the last step

    Each reason names the figure, the limit and the remedy. No remedy raises the learning rate if another reason shows
    that the policy is too far from the reference.
    """
    too_far = _too_far(gates, scores, training)
    reasons = _too_little_held_out(gates, scores)
    auroc = _figure(scores, "auroc")
    if not _bound(auroc, "low") > gates.auroc_above:
        stronger = "" if too_far else ", or train longer or with a higher learning rate"
        reasons.append(
            f"auroc: the lower bound on held-out feedback is {_shown(auroc, 'low')}, it must lie above "
            f"{gates.auroc_above:g}: collect more feedback{stronger}"
        )
    difference = _figure(scores, "auroc_difference")
    if not _bound(difference, "low") >= -gates.non_inferiority_margin:
        reasons.append(
            f"auroc_difference: against the shipped checkpoint the lower bound is {_shown(difference, 'low')}, it must "
            f"be {-gates.non_inferiority_margin:g} at least: collect more held-out feedback to narrow the interval, or "
            "keep what is shipped"
        )
    reasons += _over_dumb_readers(gates, scores)
    return [*reasons, *too_far]


def _too_little_held_out(gates: wire.Gates, scores: Mapping[str, Any]) -> list[str]:
    reasons = []
    for name, what, need in (
        ("rows_desirable", "desirable rows", gates.minimum_holdout_per_class),
        ("rows_undesirable", "undesirable rows", gates.minimum_holdout_per_class),
        ("groups", "prompts", gates.minimum_holdout_prompts),
    ):
        if not _bound(scores, name) >= need:
            have = "an unknown number of" if isnan(_bound(scores, name)) else f"{_bound(scores, name):g}"
            reasons.append(f"{name}: {have} {what} were held out, {need} are needed: collect more feedback")
    return reasons


def _over_dumb_readers(gates: wire.Gates, scores: Mapping[str, Any]) -> list[str]:
    margin = gates.margin_over_dumb_readers
    readers = _figure(scores, "dumb_readers")
    over = _figure(readers, "auroc_over_best")
    if margin is None or _bound(over, "low") >= margin:
        return []
    best = str(readers.get("best") or "none has a figure").replace("_", " ")
    reason = (
        f"dumb_readers.auroc_over_best: the lower bound of AUROC above the best dumb reader's ({best}) is "
        f"{_shown(over, 'low')}, it must be {margin:g} at least: see the overlap of the sides in the snapshot's card, "
        "and collect feedback on more prompts"
    )
    return [reason]


def _too_far(gates: wire.Gates, scores: Mapping[str, Any], training: Mapping[str, Any]) -> list[str]:
    """Returns the reasons against a policy that is too far from the reference."""
    reasons = []
    # The upper bound, as the lower one of auroc: a budget holds only if it holds at the worse end of the interval.
    drift = _figure(_figure(scores, "kl"), "nats_per_token")
    if not _bound(drift, "high") <= gates.kl_nats_per_token:
        reasons.append(
            f"kl.nats_per_token: the upper bound of the drift from the reference is {_shown(drift, 'high')} nats, the "
            f"budget is {gates.kl_nats_per_token:g}: raise beta, lower the learning rate or train fewer epochs"
        )
    length = _figure(scores, "length")
    if not gates.length_ratio_low <= _bound(length, "ratio") <= gates.length_ratio_high:
        after, before = (_bound(length, name) for name in ("candidate_median", "reference_median"))
        lengths = "unknown" if isnan(after) or isnan(before) else f"{after:g} tokens, the reference's {before:g}"
        reasons.append(
            f"length.ratio: the median length of sampled completions is {lengths}, it must be "
            f"{gates.length_ratio_low:g} to {gates.length_ratio_high:g} times the reference's: check whether desirable "
            "rows are longer or shorter than undesirable ones, raise beta or lower the learning rate"
        )
    return [*reasons, *_refused_findings(gates, training)]


def _refused_findings(gates: wire.Gates, training: Mapping[str, Any]) -> list[str]:
    if not gates.refused_findings:
        return []
    findings = training.get("findings")
    if not isinstance(findings, Sequence):
        return ["findings: the trainer's findings after its last step are unknown: train again"]
    return [
        f"{finding['code']}: {finding['message']}" for finding in findings if finding["code"] in gates.refused_findings
    ]


def _figure(figures: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = figures.get(name)
    return value if isinstance(value, Mapping) else {}


def _bound(figure: Mapping[str, Any], name: str) -> float:
    """Returns the bound as a float, NaN if it is missing."""
    value = figure.get(name)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else nan


def _shown(figure: Mapping[str, Any], bound: str) -> str:
    value = _bound(figure, bound)
    return f"unknown ({figure.get('reason') or 'the scorer gave none'})" if isnan(value) else f"{value:.3f}"
