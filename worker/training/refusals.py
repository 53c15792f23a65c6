"""Refuses settings that cannot work before any weights are loaded, first by the files alone, then by the rows.

Each refusal is one sentence: the field, its value, the remedy.
"""

from collections.abc import Sequence

import numpy as np
from thumbwheel.wire.recipe import Recipe

from worker.training.data.rows import TokenisedRows
from worker.training.job import Job
from worker.training.machine.out_of_memory import micro_batch_sizes
from worker.training.machine.process import TrainingRefusal
from worker.training.models import lora, policy
from worker.training.objectives import OBJECTIVES

#: The recommended max_length holds at least this share of the rows uncut.
HELD_SHARE = 0.95


def require_possible_job(job: Job) -> None:
    """Raises `TrainingRefusal` if the recipe does not fit the configuration of the base model or the adapter."""
    recipe = job.recipe
    shipped = lora.read_config(job.adapter) if job.adapter is not None else None
    if OBJECTIVES[recipe.objective].data == "pairs" and job.pairs is None:
        raise _no_pairs(recipe, "the snapshot holds none")
    if recipe.method == "full":
        if shipped is not None:
            lora.require_mergeable(shipped)
        return
    blueprint = policy.blueprint(job.base)
    targets = lora.require_targets(blueprint, recipe)
    if shipped is not None:
        lora.require_continuable(blueprint, shipped, recipe, targets)


def require_possible_rows(job: Job, read: TokenisedRows, pairs: Sequence[tuple[int, int]], max_length: int) -> None:
    """Raises `TrainingRefusal` if the recipe does not fit the train rows.

    `max_length` is the number of tokens that recipe and context allow; `pairs`, for an objective of pairs, are those
    with both rows in `read`.
    """
    recipe = job.recipe
    objective = OBJECTIVES[recipe.objective]
    if objective.data == "pairs" and not pairs:
        dropped = f"{read.dropped} rows were dropped; pairs is {recipe.pairs}"
        raise _no_pairs(recipe, f"no pair of the snapshot has two usable rows, {dropped}")
    if objective.labels:
        _require_labels(recipe, read)
    elif objective.data == "rows":
        read.require_both_classes()
    elif objective.data == "desirable rows" and not any(row.desirable for row in read.rows):
        raise TrainingRefusal(
            "one_class",
            f"snapshot: none of the {len(read.rows)} usable train rows is desirable, {recipe.objective} learns from "
            "those alone: collect desirable feedback (edits give it)",
        )
    _require_prompts_fit(job, read, max_length)
    _require_filled_micro_batch(recipe, rows_of_an_epoch(recipe, read, pairs))


def _no_pairs(recipe: Recipe, why: str) -> TrainingRefusal:
    return TrainingRefusal(
        "no_pairs",
        f"recipe.json: objective: {recipe.objective} learns from pairs, two completions of one prompt, and {why}: set "
        "objective to kto, or collect preferences between two answers to one prompt",
    )


def _require_labels(recipe: Recipe, read: TokenisedRows) -> None:
    given = {name for row in read.rows for name in row.labels}
    for label in recipe.labels:
        values = [row.labels[label.name] for row in read.rows if label.name in row.labels]
        if not values:
            existing = f"they have {', '.join(sorted(given))}" if given else "they have none"
            raise TrainingRefusal(
                "label_missing",
                f"recipe.json: labels: no train row has the label {label.name}, {existing}: name labels that the "
                "snapshot has",
            )
        if len(set(values)) == 1:
            kind, missing = ("desirable", "undesirable") if values[0] else ("undesirable", "desirable")
            raise TrainingRefusal(
                "one_class",
                f"recipe.json: labels: all {len(values)} train rows with the label {label.name} are {kind} by it, KTO "
                f"needs both classes: collect {missing} feedback or remove the label",
            )


def _require_prompts_fit(job: Job, read: TokenisedRows, max_length: int) -> None:
    if 2 * read.prompts_too_long <= len(read.rows):
        return
    enough = int(np.quantile(read.lengths, HELD_SHARE, method="higher"))
    fault = f"{read.prompts_too_long} of {len(read.rows)} prompts alone do not fit"
    remedy = f"{enough} tokens would hold {100 * HELD_SHARE:.0f} % of the rows whole"
    if max_length < job.recipe.max_length:
        raise TrainingRefusal(
            "context",
            f"base_model: {fault} into its context of {max_length} tokens: take one with a longer context, {remedy}",
        )
    raise TrainingRefusal("context", f"recipe.json: max_length is {max_length}, {fault}: raise it, {remedy}")


def rows_of_an_epoch(recipe: Recipe, read: TokenisedRows, pairs: Sequence[tuple[int, int]]) -> int:
    desirable = sum(row.desirable for row in read.rows)
    kind = OBJECTIVES[recipe.objective].data
    if kind == "rows":
        return 2 * max(desirable, len(read.rows) - desirable) if recipe.balance == "batch" else len(read.rows)
    return 2 * len(pairs) if kind == "pairs" else desirable


def _require_filled_micro_batch(recipe: Recipe, rows: int) -> None:
    requested = recipe.micro_batch_size
    sizes = micro_batch_sizes(recipe, at_most=rows)
    if (requested == "auto" and sizes) or (requested != "auto" and requested <= rows):
        return
    if requested == "auto":
        what, remedy = f"no divisor of batch_size {recipe.batch_size} is", "set batch_size to a multiple of 4, or "
    else:
        what, remedy = f"it is {requested}, not", f"set it to {sizes[-1]}, or " if sizes else ""
    raise TrainingRefusal(
        "micro_batch_size",
        f"recipe.json: micro_batch_size: {what} between 2 and the {rows} rows of an epoch: {remedy}collect more "
        "feedback",
    )
