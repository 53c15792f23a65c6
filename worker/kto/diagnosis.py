"""What looks wrong, before and while it trains, and what to do. Figures in, findings out."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any, NamedTuple

from app.runs.recipe import Recipe
from worker.kto.batches import Plan
from worker.kto.rows import Rows

#: Steps that are averaged, so that one odd batch raises no alarm.
SPAN = 10
#: A class counts as fallen when its mean reward is below this (β·r, so in units of the loss's sigmoid).
FALLEN = -0.5
#: Within this of λ/2, as a share of λ, a class's loss counts as never having moved.
PINNED = 0.005
TRUNCATED_SHARE = 0.05


class Finding(NamedTuple):
    code: str
    message: str


def findings(metrics: Sequence[Mapping[str, Any]], recipe: Recipe) -> list[Finding]:
    """What the metrics so far say; the caller reports each code once."""
    return [finding for rule in (_both_rewards_fall, _loss_is_pinned) if (finding := rule(metrics, recipe))]


def _both_rewards_fall(metrics: Sequence[Mapping[str, Any]], recipe: Recipe) -> Finding | None:
    if len(metrics) < 2 * SPAN:
        return None
    for name in ("reward_desirable", "reward_undesirable"):
        now, before = _mean(metrics[-SPAN:], name), _mean(metrics[-2 * SPAN : -SPAN], name)
        if now is None or before is None or not (now < before and now < FALLEN):
            return None
    return Finding(
        "rewards_fall",
        "the rewards of both classes fall together: the learning rate is too high for this beta: lower learning_rate "
        f"(it is {recipe.learning_rate:g}) or raise beta (it is {recipe.beta:g})",
    )


def _loss_is_pinned(metrics: Sequence[Mapping[str, Any]], recipe: Recipe) -> Finding | None:
    if len(metrics) < 2 * SPAN or len(metrics) < metrics[-1]["total_steps"] // 2:
        return None
    for name, full in (("loss_desirable", recipe.lambda_desirable), ("loss_undesirable", recipe.lambda_undesirable)):
        now = _mean(metrics[-SPAN:], name)
        if now is None or abs(now / float(full) - 0.5) > PINNED:
            return None
    return Finding(
        "nothing_learned",
        "the loss stays at mean(lambda)/2: nothing is learned: raise learning_rate "
        f"(it is {recipe.learning_rate:g}) or look whether the labels say anything about the completions",
    )


def of_rows(read: Rows, plan: Plan, recipe: Recipe, context: int | None) -> list[Finding]:
    """What the rows and their plan say before the first step. `context`: tokens the base model was made for."""
    found = []
    if context is not None and context < recipe.max_length:
        found.append(
            Finding(
                "context",
                f"max_length is {recipe.max_length}, the base model was made for {context}: rows are cut there",
            )
        )
    if read.truncated > TRUNCATED_SHARE * len(read.rows):
        found.append(
            Finding(
                "many_truncated",
                f"{read.truncated} of {len(read.rows)} rows were cut, {read.tokens_cut} tokens in all: raise "
                f"max_length (it is {recipe.max_length}) if the base model's context allows it",
            )
        )
    if read.dropped:
        found.append(
            Finding(
                "rows_dropped",
                f"{read.dropped} rows have an empty completion, or one that max_length leaves nothing of",
            )
        )
    if plan.unpaired:
        found.append(
            Finding(
                "unpaired_rows",
                f"{plan.unpaired} rows share prompt or completion with all others of their micro-batch: they do not "
                "enter z0; raise micro_batch_size, or collect more varied prompts",
            )
        )
    return found


def _mean(metrics: Sequence[Mapping[str, Any]], name: str) -> float | None:
    """Over the steps that had the class."""
    values = [line[name] for line in metrics if line[name] is not None]
    return fmean(values) if values else None
