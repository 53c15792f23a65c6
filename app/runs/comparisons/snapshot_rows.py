"""Reads the training rows of an existing snapshot from its manifest: their weights, and whether a recipe can learn."""

from collections.abc import Mapping
from typing import Any

from thumbwheel import wire
from thumbwheel.wire.recipe import Recipe

from app.snapshots import service as snapshots


def train_weights(manifest: Mapping[str, Any]) -> tuple[float, float]:
    """Returns the summed weights of the desirable and of the undesirable training rows."""
    counts = manifest["counts"]["train"]
    return counts["weight_desirable"], counts["weight_undesirable"]


def refusals_on(manifest: Mapping[str, Any], recipe: Recipe, rules: wire.SnapshotRules) -> list[wire.Refusal]:
    """Returns the reasons why a recipe cannot learn from the snapshot, each with a remedy."""
    pairs = snapshots.usable_pairs(manifest["pairs"]["sources"]["train"], recipe.pairs)
    plan = wire.BalancePlan.model_validate({**manifest["plan"], "pairs": pairs})
    reasons = snapshots.refusals_of(plan, 0, rules, recipe.objective)
    if recipe.edit_kept_weight < 1 and "edits" not in manifest:
        reasons.append(_without_kept_spans(recipe))
    return reasons


def _without_kept_spans(recipe: Recipe) -> wire.Refusal:
    fact = f"edit_kept_weight is {recipe.edit_kept_weight:g}, and the snapshot lacks the parts that edits kept"
    remedy = "leave snapshot_id out, or set edit_kept_weight to 1"
    return wire.Refusal(
        code="no_kept_spans", of=None, have=None, need=None, more=None, reason=f"{fact}: {remedy}", remedy=remedy
    )
