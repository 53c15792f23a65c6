"""What looks wrong, before and while it trains, and what to do. Pure rules: figures in, findings out; the caller says
each code once.

What the rows and their plan say before the first step is in `plan_diagnosis`, what the metrics say after each step in
`findings`. A rule that an objective gives no figures for does not speak.
"""

from collections.abc import Callable, Mapping, Sequence
from math import log
from statistics import fmean
from typing import Any

from app.runs.recipe import WITHOUT_LAMBDA, Recipe
from worker.training.objectives import OBJECTIVES
from worker.training.watch.plan_diagnosis import Finding, of_rows

__all__ = ["Finding", "findings", "of_rows"]

Metrics = Sequence[Mapping[str, Any]]

#: Steps that are averaged, so that one odd batch raises no alarm.
SPAN = 10
#: A class counts as fallen when its mean reward is below this (β·r, so in units of the loss's sigmoid).
FALLEN = -0.5
#: Within this of its value at the start, as a share of λ, a class's loss counts as never having moved.
PINNED = 0.005
#: Rewards, or their margin, this close to 0 are where a loss counts as PINNED: a sigmoid's slope there is 1/4.
STILL = 4 * PINNED
#: Loss of a row at r = 0 and z0 = 0, as a share of its λ, of objectives where that tells whether anything was learned.
LOSS_AT_FIRST = {"kto": 0.5, "tkto": 0.5, "apo_zero_unpaired": 0.5, "bco": log(2)}
#: A class's mean reward (β·r) counts as moved beyond this.
MOVED = 0.1
#: So does its mean log-ratio r, or z0, beyond this in nats: with a small β the policy moves far while β·r stays small.
MOVED_NATS = 1.0
#: Classes whose mean rewards differ by less than this share of the larger one are not separated.
ALIKE_SHARE = 0.1
#: In more than this share of the steps z0 is cut off: then the clamp decides, not the data.
CLAMPED_SHARE = 0.5
#: One class's gradient this many times the other's: the weaker one is not learnt from. Measured twice in a row, because
#: each time it is one micro-batch.
NORMS_APART = 10
#: Sampled lengths outside this times the reference's are said. Medians of a dozen samples scatter by about a fifth, so
#: it takes two checks in a row on the same side.
LENGTH_BAND = (0.8, 1.25)


def findings(metrics: Metrics, recipe: Recipe) -> list[Finding]:
    """Returns what the lines of metrics.jsonl so far say, the gravest first.

    No two findings move the learning rate in different directions: the graver one decides.
    """
    kept: list[Finding] = []
    for rule in RULES:
        finding = rule(metrics, recipe)
        if finding is None:
            continue
        if finding.code in {earlier.code for earlier in kept}:
            continue
        directions = {earlier.learning_rate for earlier in kept} - {None}
        if finding.learning_rate is None or directions <= {finding.learning_rate}:
            kept.append(finding)
    return kept


def _both_rewards_fall(metrics: Metrics, recipe: Recipe) -> Finding | None:
    # Without a reference a reward is no distance from the start, and below 0 from the first step on.
    if not OBJECTIVES[recipe.objective].reference or len(metrics) < 2 * SPAN:
        return None
    for name in ("reward_desirable", "reward_undesirable"):
        now, before = _mean(metrics[-SPAN:], name), _mean(metrics[-2 * SPAN : -SPAN], name)
        if now is None or before is None or not (now < before and now < FALLEN):
            return None
    return Finding(
        "rewards_fall",
        "the rewards of both classes fall together: the learning rate is too high for this beta: lower learning_rate "
        f"(it is {recipe.learning_rate:g}) or raise beta (it is {recipe.beta:g})",
        "lower",
    )


def _classes_are_not_separated(metrics: Metrics, recipe: Recipe) -> Finding | None:
    """Both classes' rewards have moved, and alike, or the margin stays at or below 0."""
    if not OBJECTIVES[recipe.objective].reference or OBJECTIVES[recipe.objective].labels:
        return None
    if len(metrics) < 2 * SPAN or len(metrics) < metrics[-1]["total_steps"] // 2:
        return None
    pairs = [
        [_mean(span, name) for name in ("reward_desirable", "reward_undesirable")]
        for span in (metrics[-2 * SPAN : -SPAN], metrics[-SPAN:])
    ]
    (earlier_d, earlier_u), (desirable, undesirable) = pairs
    if earlier_d is None or earlier_u is None or desirable is None or undesirable is None:
        return None
    way, margin = max(abs(desirable), abs(undesirable)), desirable - undesirable
    alike = (way > MOVED or way > recipe.beta * MOVED_NATS) and margin < ALIKE_SHARE * way
    turned = way > STILL and margin <= 0 and earlier_d <= earlier_u
    if not alike and not turned:
        return None
    return _not_separated(desirable, undesirable, recipe)


def _not_separated(desirable: float, undesirable: float, recipe: Recipe) -> Finding:
    return Finding(
        "classes_not_separated",
        f"the rewards of both classes move alike ({desirable:.3g} for desirable rows, {undesirable:.3g} for "
        "undesirable ones): the policy changes without telling the classes apart: look whether the labels say anything "
        f"about the completions, and lower learning_rate (it is {recipe.learning_rate:g})",
        "lower",
    )


def _nothing_is_learned(metrics: Metrics, recipe: Recipe) -> Finding | None:
    if len(metrics) < 2 * SPAN or len(metrics) < metrics[-1]["total_steps"] // 2:
        return None
    at_first = LOSS_AT_FIRST.get(recipe.objective)
    if at_first is not None:
        where = "mean(lambda)/2" if at_first == 0.5 else "mean(lambda)·log(2)"
        lambdas = {"loss_desirable": recipe.lambda_desirable, "loss_undesirable": recipe.lambda_undesirable}
        off = [
            None if (now := _mean(metrics[-SPAN:], name)) is None else abs(now / float(full) - at_first) / PINNED
            for name, full in lambdas.items()
        ]
        where_it_stays = f"the loss stays at {where}"
    elif OBJECTIVES[recipe.objective].reference and not OBJECTIVES[recipe.objective].labels:
        margin = _mean(metrics[-SPAN:], "margin")
        off = [None if margin is None else abs(margin) / STILL]
        where_it_stays = "the rewards of both classes stay equal"
    else:
        return None
    if any(distance is None or distance > 1 for distance in off):
        return None
    if OBJECTIVES[recipe.objective].reference:
        desirable, undesirable, z0 = (
            _mean(metrics[-SPAN:], name) or 0.0 for name in ("reward_desirable", "reward_undesirable", "z0")
        )
        way = max(abs(desirable), abs(undesirable))
        nats = max(way / recipe.beta, abs(z0))
        if nats > MOVED_NATS and desirable - undesirable < ALIKE_SHARE * recipe.beta * nats:
            return _not_separated(desirable, undesirable, recipe)
        if nats > MOVED_NATS:
            return Finding(
                "beta_too_small",
                f"{where_it_stays}, but the policy has moved by {nats:.3g} nats: beta (it is {recipe.beta:g}) is so "
                "small that the loss does not follow: raise beta",
            )
        if way > STILL:
            return None
    return Finding(
        "nothing_learned",
        f"{where_it_stays}: nothing is learned: raise learning_rate (it is {recipe.learning_rate:g}) or look whether "
        "the labels say anything about the completions",
        "raise",
    )


def _z0_is_clamped(metrics: Metrics, recipe: Recipe) -> Finding | None:
    seen = [line for line in metrics[-4 * SPAN :] if line.get("z0_clamped_share") is not None]
    if len(seen) < 2 * SPAN:
        return None
    clamped = sum(line["z0_clamped_share"] > 0.5 for line in seen)
    # Around 0 chance decides about the clamp, and it changes nothing.
    if clamped <= CLAMPED_SHARE * len(seen) or recipe.beta * fmean(line["z0_raw"] for line in seen) > -STILL:
        return None
    return Finding(
        "z0_clamped",
        f"z0 was below 0 and cut off there in {clamped} of the last {len(seen)} steps: completions of other prompts "
        "lose probability, so the reference point says nothing about drift: lower learning_rate "
        f"(it is {recipe.learning_rate:g}) or set objective to apo_zero_unpaired, which has no z0",
        "lower",
    )


def _gradients_are_apart(metrics: Metrics, recipe: Recipe) -> Finding | None:
    names = ("gradient_norm_desirable", "gradient_norm_undesirable")
    pairs = [[line[name] for name in names] for line in metrics if all(line.get(n) is not None for n in names)][-2:]
    for strong, weak, side in (("desirable", "undesirable", 0), ("undesirable", "desirable", 1)):
        if len(pairs) == 2 and all(pair[side] > NORMS_APART * pair[1 - side] for pair in pairs):
            norms = f"{pairs[-1][side]:.3g} and {pairs[-1][1 - side]:.3g}"
            where = " in labels" if recipe.objective in WITHOUT_LAMBDA else ""
            batch = "" if where or recipe.balance == "batch" else ", or set balance to batch"
            return Finding(
                "gradients_apart",
                f"{strong} rows pull over {NORMS_APART} times as hard as {weak} ones (gradient norms {norms}), which "
                f"are hardly learnt from: raise lambda_{weak}{where}{batch}",
            )
    return None


def _drift_is_over_budget(metrics: Metrics, recipe: Recipe) -> Finding | None:
    kl = metrics[-1].get("kl_nats_per_token") if metrics else None
    if kl is None or kl <= recipe.drift.kl_budget:
        return None
    return Finding(
        "drift_over_budget",
        f"the policy is {kl:.3g} nats a token away from the reference, drift.kl_budget is {recipe.drift.kl_budget:g}: "
        f"raise beta (it is {recipe.beta:g}), lower learning_rate (it is {recipe.learning_rate:g}) or train less",
        "lower",
    )


def _lengths_drift(metrics: Metrics, recipe: Recipe) -> Finding | None:
    needed = min(2, recipe.drift.checks)
    checks = [
        (line["sampled_length_median"], line["reference_length_median"])
        for line in metrics
        if line.get("sampled_length_median") is not None
    ][-needed:]
    if not checks or len(checks) < needed:
        return None
    low, high = LENGTH_BAND
    for way, drifted in (
        ("shorter", [sampled < low * reference for sampled, reference in checks]),
        ("longer", [sampled > high * reference for sampled, reference in checks]),
    ):
        if all(drifted):
            sampled, reference = checks[-1]
            return Finding(
                "length_drift",
                f"completions get {way}: {sampled:g} tokens in the median, the reference's have {reference:g}: look "
                f"whether desirable rows are {way} than undesirable ones, raise beta (it is {recipe.beta:g}) or lower "
                f"learning_rate (it is {recipe.learning_rate:g})",
                "lower",
            )
    return None


#: The gravest first.
RULES: Sequence[Callable[[Metrics, Recipe], Finding | None]] = (
    _both_rewards_fall,
    _classes_are_not_separated,
    _drift_is_over_budget,
    _lengths_drift,
    _z0_is_clamped,
    _nothing_is_learned,
    _gradients_are_apart,
)


def _mean(metrics: Metrics, name: str) -> float | None:
    """Over the steps that had the class."""
    values = [line[name] for line in metrics if line.get(name) is not None]
    return fmean(values) if values else None
