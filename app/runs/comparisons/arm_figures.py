"""The figures of an arm from the scores of its checkpoints, one for each seed. Pure.

The figures of the seeds are pooled: the value is their mean. Its interval has two sources that are added in squares:

    half width = √( (mean half width of the seeds)² + (t_{0.975, S−1} · s / √S)² )

The first is the variation between prompts. It does not shrink with more seeds, as every seed is measured on the same
prompts. The second is the variation between trainings: s is the standard deviation over the S seeds. With one seed it
is unknown and left out.
"""

from collections.abc import Iterator, Mapping, Sequence
from math import isfinite, sqrt
from statistics import fmean, stdev
from typing import Any

from thumbwheel import wire

from app.checkpoints.few_shots import FEW_SHOTS

#: The 0.975-quantile of Student's t distribution, for 1, 2, … degrees of freedom.
T_975 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
NO_CHECKPOINT = "no run of the arm has registered a checkpoint"


def auroc_of(scores: Mapping[str, Any]) -> Mapping[str, Any]:
    return _figure(scores, "auroc")


def drift_of(scores: Mapping[str, Any]) -> Mapping[str, Any]:
    return _figure(scores, "kl", "nats_per_token")


def length_ratio_of(scores: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns the ratio with its interval where the scorer sampled all models, else the plain ratio of medians."""
    sampled = _figure(scores, "samples", "against_shipped", "length_ratio")
    return sampled if sampled.get("value") is not None else {"value": _figure(scores, "length").get("ratio")}


def suites_of(scores: Mapping[str, Any], model: str) -> dict[str, Mapping[str, Any]]:
    """Returns the share of passed tests of each suite; `model` is candidate or shipped."""
    return {name: _figure(scores, "suites", name, model, "pass_share") for name in _figure(scores, "suites")}


def figures_of(scores: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns the figures of a trained arm, as `wire.ArmResult` has them. `scores`: of each seed's checkpoint."""
    names = {name: None for each in scores for name in suites_of(each, "candidate")}
    return {
        "auroc": pooled([auroc_of(each) for each in scores]),
        "kl_nats_per_token": pooled([drift_of(each) for each in scores]),
        "length_ratio": pooled([length_ratio_of(each) for each in scores]),
        "suites": {name: pooled([suites_of(each, "candidate").get(name, {}) for each in scores]) for name in names},
    }


def figures_of_untouched(scores: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns the figures of the reference, from the scores of other arms' checkpoints, which have them too."""
    of_suites = next((suites for each in scores if (suites := suites_of(each, "shipped"))), {})
    exact = "by definition: it is the reference"
    return {
        "auroc": wire.ArmFigure(value=0.5, low=0.5, high=0.5, reason=exact),
        "kl_nats_per_token": wire.ArmFigure(value=0.0, low=0.0, high=0.0, reason=exact),
        "length_ratio": wire.ArmFigure(value=1.0, low=1.0, high=1.0, reason=exact),
        "suites": {name: pooled([figure]) for name, figure in of_suites.items()},
    }


def figures_of_few_shots(scores: Sequence[Mapping[str, Any]], examples: int) -> dict[str, Any]:
    """Returns the figures of the reference with `examples` before each prompt, as `figures_of_untouched` does those of
    the reference.
    """
    measured = next((each for each in scores if _figure(each, FEW_SHOTS).get("count") == examples), None)
    if measured is None:
        unknown = wire.ArmFigure(reason="no run has measured it")
        return {"auroc": unknown, "kl_nats_per_token": unknown, "length_ratio": unknown, "suites": {}}
    section = _figure(measured, FEW_SHOTS)
    auroc = pooled([auroc_of(section)])
    left_out = section.get("rows_left_out")
    if left_out and auroc.value is not None:
        auroc = auroc.model_copy(update={"reason": f"{left_out:,} held-out rows with examples exceed the context"})
    return {
        "auroc": auroc,
        "kl_nats_per_token": pooled([drift_of(section)]),
        "length_ratio": pooled([_figure(section, "samples", "against_shipped", "length_ratio")]),
        "suites": {name: pooled([figure]) for name, figure in suites_of(measured, FEW_SHOTS).items() if figure},
    }


def pooled(figures: Sequence[Mapping[str, Any]]) -> wire.ArmFigure:
    """Returns the mean of the seeds' figures with its interval; without a value if a seed has none."""
    if not figures:
        return wire.ArmFigure(reason=NO_CHECKPOINT)
    for figure in figures:
        if _number(figure, "value") is None:
            return wire.ArmFigure(reason=str(figure.get("reason") or "the scorer gave no such figure"))
    values = list(_numbers(figures, "value"))
    lows, highs = list(_numbers(figures, "low")), list(_numbers(figures, "high"))
    value = fmean(values)
    if not len(lows) == len(highs) == len(values):
        return wire.ArmFigure(value=value, reason="it has no interval")
    between = T_975[len(values) - 2] * stdev(values) / sqrt(len(values)) if len(values) > 1 else 0.0
    below, above = sqrt((value - fmean(lows)) ** 2 + between**2), sqrt((fmean(highs) - value) ** 2 + between**2)
    return wire.ArmFigure(value=value, low=value - below, high=value + above)


def _numbers(figures: Sequence[Mapping[str, Any]], name: str) -> Iterator[float]:
    return (number for figure in figures if (number := _number(figure, name)) is not None)


def _number(figure: Mapping[str, Any], name: str) -> float | None:
    value = figure.get(name)
    usable = isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
    return float(value) if usable and value is not None else None


def _figure(scores: Mapping[str, Any], *path: str) -> Mapping[str, Any]:
    value: Any = scores
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value if isinstance(value, Mapping) else {}
