"""Pure rules that detect training problems and suggest a remedy: figures in, findings out.

`plan_diagnosis` checks the rows and their plan before the first step, `findings` the metrics after each step. A rule
without figures from the objective finds nothing. The caller reports each code once.
"""

from collections.abc import Callable, Mapping, Sequence
from math import log
from statistics import fmean
from typing import Any

from thumbwheel.wire.recipe import WITHOUT_LAMBDA, Recipe

from worker.training.objectives import OBJECTIVES
from worker.training.watch.plan_diagnosis import Diagnosis, of_rows

__all__ = ["Diagnosis", "findings", "of_rows"]

Metrics = Sequence[Mapping[str, Any]]

#: Number of steps that are averaged, so that one unusual batch raises no alarm.
SPAN = 10
#: A class counts as fallen below this mean reward (β·r, so in units of the loss's sigmoid).
FALLEN = -0.5
#: A class's loss counts as unmoved within this distance of its value at the start, as a share of λ.
PINNED = 0.005
#: Rewards, or their margin, count as unmoved within this distance of 0. It matches PINNED, as a sigmoid's slope at 0 is
#: 1/4.
STILL = 4 * PINNED
#: Loss of a row at r = 0 and z0 = 0, as a share of its λ, for objectives where it shows whether anything was learned.
LOSS_AT_FIRST = {"kto": 0.5, "tkto": 0.5, "apo_zero_unpaired": 0.5, "bco": log(2)}
#: A class's mean reward (β·r) counts as moved beyond this.
MOVED = 0.1
#: Its mean log-ratio r, or z0, counts as moved beyond this, in nats: with a small β, β·r stays small in a large move.
MOVED_NATS = 1.0
#: Classes whose mean rewards differ by less than this share of the larger one are not separated.
ALIKE_SHARE = 0.1
#: If z0 is clamped in more than this share of the steps, the clamp determines it and not the data.
CLAMPED_SHARE = 0.5
#: Ratio of the classes' gradient norms beyond which the weaker class is not learnt from. It must be exceeded twice in a
#: row, because each measurement is of one micro-batch.
NORMS_APART = 10
#: Sampled lengths outside these multiples of the reference's are reported. Medians of a dozen samples scatter by about
#: a fifth, so two checks in a row on the same side are needed.
LENGTH_BAND = (0.8, 1.25)


def findings(metrics: Metrics, recipe: Recipe) -> list[Diagnosis]:
    """Returns the findings from the lines of metrics.jsonl so far, the most serious first.

    Findings never move the learning rate in different directions: the more serious one decides.
    """
    kept: list[Diagnosis] = []
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


def _both_rewards_fall(metrics: Metrics, recipe: Recipe) -> Diagnosis | None:
    # Without a reference a reward does not measure the distance from the start, and it is below 0 from the first step.
    if not OBJECTIVES[recipe.objective].reference or len(metrics) < 2 * SPAN:
        return None
    for name in ("reward_desirable", "reward_undesirable"):
        now, before = _mean(metrics[-SPAN:], name), _mean(metrics[-2 * SPAN : -SPAN], name)
        if now is None or before is None or not (now < before and now < FALLEN):
            return None
    return Diagnosis(
        "rewards_fall",
        "the rewards of both classes fall together: the learning rate is too high for this beta: lower learning_rate "
        f"(it is {recipe.learning_rate:g}) or raise beta (it is {recipe.beta:g})",
        "lower",
        "error",
    )


def _classes_are_not_separated(metrics: Metrics, recipe: Recipe) -> Diagnosis | None:
    """Finds rewards of both classes that have moved alike, or a margin that stays at or below 0."""
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


def _not_separated(desirable: float, undesirable: float, recipe: Recipe) -> Diagnosis:
    return Diagnosis(
        "classes_not_separated",
        f"the rewards of both classes move alike ({desirable:.3g} for desirable rows, {undesirable:.3g} for "
        "undesirable ones): the policy changes without telling the classes apart: check whether the labels say "
        f"anything about the completions, and lower learning_rate (it is {recipe.learning_rate:g})",
        "lower",
        "error",
    )


def _nothing_is_learned(metrics: Metrics, recipe: Recipe) -> Diagnosis | None:
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
            return Diagnosis(
                "beta_too_small",
                f"{where_it_stays}, but the policy has moved by {nats:.3g} nats: beta (it is {recipe.beta:g}) is so "
                "small that the loss does not follow: raise beta",
            )
        if way > STILL:
            return None
    return Diagnosis(
        "nothing_learned",
        f"{where_it_stays}: nothing is learned: raise learning_rate (it is {recipe.learning_rate:g}) or check whether "
        "the labels say anything about the completions",
        "raise",
    )


def _z0_is_clamped(metrics: Metrics, recipe: Recipe) -> Diagnosis | None:
    seen = [line for line in metrics[-4 * SPAN :] if line.get("z0_clamped_share") is not None]
    if len(seen) < 2 * SPAN:
        return None
    clamped = sum(line["z0_clamped_share"] > 0.5 for line in seen)
    # Near 0 the clamp depends on chance and changes nothing.
    if clamped <= CLAMPED_SHARE * len(seen) or recipe.beta * fmean(line["z0_raw"] for line in seen) > -STILL:
        return None
    return Diagnosis(
        "z0_clamped",
        f"z0 was below 0 and cut off there in {clamped} of the last {len(seen)} steps: completions of other prompts "
        "lose probability, so the reference point says nothing about drift: lower learning_rate "
        f"(it is {recipe.learning_rate:g}) or set objective to apo_zero_unpaired, which has no z0",
        "lower",
    )


def _gradients_are_apart(metrics: Metrics, recipe: Recipe) -> Diagnosis | None:
    names = ("gradient_norm_desirable", "gradient_norm_undesirable")
    pairs = [[line[name] for name in names] for line in metrics if all(line.get(n) is not None for n in names)][-2:]
    for strong, weak, side in (("desirable", "undesirable", 0), ("undesirable", "desirable", 1)):
        if len(pairs) == 2 and all(pair[side] > NORMS_APART * pair[1 - side] for pair in pairs):
            norms = f"{pairs[-1][side]:.3g} and {pairs[-1][1 - side]:.3g}"
            where = " in labels" if recipe.objective in WITHOUT_LAMBDA else ""
            batch = "" if where or recipe.balance == "batch" else ", or set balance to batch"
            return Diagnosis(
                "gradients_apart",
                f"{strong} rows pull over {NORMS_APART} times as hard as {weak} ones (gradient norms {norms}), which "
                f"are hardly learnt from: raise lambda_{weak}{where}{batch}",
            )
    return None


def _drift_is_over_budget(metrics: Metrics, recipe: Recipe) -> Diagnosis | None:
    kl = metrics[-1].get("kl_nats_per_token") if metrics else None
    if kl is None or kl <= recipe.drift.kl_budget:
        return None
    return Diagnosis(
        "drift_over_budget",
        f"the policy is {kl:.3g} nats a token away from the reference, drift.kl_budget is {recipe.drift.kl_budget:g}: "
        f"raise beta (it is {recipe.beta:g}), lower learning_rate (it is {recipe.learning_rate:g}) or train less",
        "lower",
        "error",
    )


def _lengths_drift(metrics: Metrics, recipe: Recipe) -> Diagnosis | None:
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
            return Diagnosis(
                "length_drift",
                f"completions get {way}: {sampled:g} tokens in the median, the reference's have {reference:g}: check "
                f"whether desirable rows are {way} than undesirable ones, raise beta (it is {recipe.beta:g}) or lower "
                f"learning_rate (it is {recipe.learning_rate:g})",
                "lower",
            )
    return None


#: The most serious first.
RULES: Sequence[Callable[[Metrics, Recipe], Diagnosis | None]] = (
    _both_rewards_fall,
    _classes_are_not_separated,
    _drift_is_over_budget,
    _lengths_drift,
    _z0_is_clamped,
    _nothing_is_learned,
    _gradients_are_apart,
)


def _mean(metrics: Metrics, name: str) -> float | None:
    """Returns the mean over the steps that have the figure, or None if none has."""
    values = [line[name] for line in metrics if line.get(name) is not None]
    return fmean(values) if values else None
