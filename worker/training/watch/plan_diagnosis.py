"""Pure rules that detect problems in the rows and their plan before the first step: rows in, findings out."""

from collections import Counter
from collections.abc import Sequence
from typing import Literal, NamedTuple

from thumbwheel.wire.recipe import WITHOUT_LAMBDA, Recipe

from worker.training.data.batches import BatchPlan
from worker.training.data.rows import Row, TokenisedRows

TRUNCATED_SHARE = 0.05
#: Share of a block's rows that may have a prompt or completion in common: such rows pull in the same direction and
#: cannot lend each other a completion.
DUPLICATE_SHARE = 0.25
#: λ_D·n_D / (λ_U·n_U): at least 1 and up to 4/3 in KTO's paper and TRL's documentation, up to 3/2 in its later text.
LAMBDA_BAND = (1.0, 1.5)


class Diagnosis(NamedTuple):
    """A problem and its remedy.

    learning_rate   direction in which the remedy moves the learning rate, None if it does not
    severity        error if the weights are of no use as they are
    """

    code: str
    message: str
    learning_rate: Literal["lower", "raise"] | None = None
    severity: Literal["warning", "error"] = "warning"


def of_rows(read: TokenisedRows, plan: BatchPlan, recipe: Recipe, context: int | None) -> list[Diagnosis]:
    """Returns the warnings about the rows and their plan before the first step.

    `context` is the number of tokens that the base model was made for.
    """
    findings = []
    if context is not None and context < recipe.max_length:
        findings.append(
            Diagnosis(
                "context",
                f"max_length is {recipe.max_length}, the base model was made for {context}: rows are cut there",
            )
        )
    if read.truncated > TRUNCATED_SHARE * len(read.rows):
        findings.append(
            Diagnosis(
                "many_truncated",
                f"{read.truncated} of {len(read.rows)} rows were cut, {read.tokens_cut} tokens in all: raise "
                f"max_length (it is {recipe.max_length}) if the base model's context allows it",
            )
        )
    if plan.unpaired:
        findings.append(
            Diagnosis(
                "unpaired_rows",
                f"{plan.unpaired} rows share prompt or completion with all others of their micro-batch: they do not "
                "enter z0; raise micro_batch_size, or collect more varied prompts",
            )
        )
    return [*findings, *_duplicates(read.rows, plan), *_lambdas(read.rows, plan, recipe)]


def _duplicates(rows: Sequence[Row], plan: BatchPlan) -> list[Diagnosis]:
    if not plan.mismatched:
        return []
    total = sharing = 0
    for block in plan.blocks:
        prompts = Counter(rows[row].prompt_key for row in block.rows)
        completions = Counter(rows[row].completion.tobytes() for row in block.rows)
        total += len(block.rows)
        sharing += sum(
            prompts[rows[row].prompt_key] > 1 or completions[rows[row].completion.tobytes()] > 1 for row in block.rows
        )
    if sharing <= DUPLICATE_SHARE * total:
        return []
    return [
        Diagnosis(
            "duplicates",
            f"{sharing} of {total} rows share their prompt or completion with another row of their micro-batch: z0 "
            "rests on few different completions: raise micro_batch_size, or collect more varied feedback",
        )
    ]


def _lambdas(rows: Sequence[Row], plan: BatchPlan, recipe: Recipe) -> list[Diagnosis]:
    if recipe.objective in WITHOUT_LAMBDA:
        return []
    taken = [rows[row] for block in plan.blocks for row in block.rows]
    pull_d = float(recipe.lambda_desirable) * sum(row.weight for row in taken if row.desirable)
    pull_u = float(recipe.lambda_undesirable) * sum(row.weight for row in taken if not row.desirable)
    low, high = LAMBDA_BAND
    if pull_d == 0 or pull_u == 0 or low - 1e-6 <= pull_d / pull_u <= high + 1e-6:
        return []
    even = recipe.lambda_desirable == recipe.lambda_undesirable
    if recipe.weigh_up == "desirable" and even and pull_d > pull_u:
        return []  # many desirable rows, which is intended
    return [
        Diagnosis(
            "lambda_band",
            f"lambda_desirable and lambda_undesirable weigh desirable rows {pull_d / pull_u:.3g} times as much as "
            f"undesirable ones, recommended is {low:g} to {high:g}: set both to auto, unless this is intended",
        )
    ]
