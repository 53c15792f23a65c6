"""What must hold while training, checked at every step. A broken invariant is our bug and crashes; a number that is not
finite is refused, naming the rows, with the batch kept for whoever looks into it."""

import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from app.runs.recipe import Recipe
from worker.kto.files import write_atomically
from worker.kto.objectives import LogProbs, Losses
from worker.kto.process import Refusal
from worker.kto.rows import Row

#: How far two forwards of the same weights may be apart in lp, per nat of |lp| and at least, by precision.
SAME_WITHIN = {torch.float32: (1e-5, 1e-3), torch.bfloat16: (2e-2, 0.5)}


def require_tokens_in_vocabulary(rows: Sequence[Row], policy: Any) -> None:
    size = policy.get_input_embeddings().weight.shape[0]
    largest = max(int(max(row.prompt.max(), row.completion.max())) for row in rows)
    if largest >= size:
        raise Refusal(
            "vocabulary",
            f"base_model: the tokenizer makes token {largest}, the model knows {size} tokens: "
            "use the tokenizer that the model was trained with",
        )


def assert_policy_is_reference(log_probs: LogProbs, losses: Losses, recipe: Recipe, precision: torch.dtype) -> None:
    """Before the first update: r = 0, z0 = 0, L = λ/2, within what `precision` can tell apart."""
    relative, absolute = SAME_WITHIN[precision]
    policy_B = log_probs.policy_B.detach()
    r_B = policy_B - log_probs.reference_B
    limit_B = absolute + relative * policy_B.abs()
    assert bool((r_B.abs() <= limit_B).all()), (
        f"before the first update r must be 0, it reaches {r_B.abs().max():g} nats"
    )
    z0_limit = float(absolute + relative * log_probs.policy_mismatched_B.abs().max())
    assert abs(float(losses.z0_raw)) <= z0_limit, (
        f"before the first update z0 must be 0, it is {float(losses.z0_raw):g}"
    )
    lambda_B = torch.where(log_probs.desirable_B, float(recipe.lambda_desirable), float(recipe.lambda_undesirable))
    expected_B = log_probs.weight_B * lambda_B / 2
    # σ has slope 1/4 at most.
    slack_B = expected_B / 2 * recipe.beta * (limit_B + z0_limit) + 1e-6 * (1 + expected_B)
    off_B = (losses.loss_B.detach() - expected_B).abs()
    assert bool((off_B <= slack_B).all()), f"before the first update L must be λ/2, it is off by {off_B.max():g}"


def require_finite(workdir: Path, step: int, members: Sequence[Row], log_probs: LogProbs, losses: Losses) -> None:
    """Raises `Refusal` naming the rows whose log-probs or loss are NaN or infinite."""
    figures = {
        "policy": log_probs.policy_B.detach(),
        "reference": log_probs.reference_B,
        "policy_mismatched": log_probs.policy_mismatched_B,
        "reference_mismatched": log_probs.reference_mismatched_B,
        "loss": losses.loss_B.detach(),
    }
    finite_B = torch.stack(list(figures.values())).isfinite().all(0)
    if not bool(finite_B.all()):
        odd = [row for row, finite in zip(members, finite_B.tolist(), strict=True) if not finite]
        values = {name: [str(value) for value in figure.tolist()] for name, figure in figures.items()}
        _refuse(workdir, step, "a log-prob or loss", odd, members, values)


def require_finite_gradient(workdir: Path, step: int, norm: float, members: Sequence[Row]) -> None:
    if not math.isfinite(norm):
        _refuse(workdir, step, "the gradient", members, members, {"gradient_norm": [str(norm)]})


def _refuse(
    workdir: Path, step: int, what: str, odd: Sequence[Row], members: Sequence[Row], values: dict[str, list[str]]
) -> None:
    rank = os.environ.get("RANK", "0")  # each of several ranks keeps its own rows
    name = f"not-finite-step-{step:06d}{'' if rank == '0' else f'-rank-{rank}'}.json"
    batch = {
        "step": step,
        "rows": [
            {
                "completion_id": row.completion_id,
                "desirable": row.desirable,
                "weight": row.weight,
                "prompt_ids": row.prompt.tolist(),
                "completion_ids": row.completion.tolist(),
            }
            for row in members
        ],
        **values,
    }
    write_atomically(workdir / name, json.dumps(batch).encode())
    named = ", ".join(row.completion_id for row in odd[:5]) + (" …" if len(odd) > 5 else "")
    raise Refusal(
        "not_finite",
        f"step {step}: {what} is NaN or infinite, rows with completion_id {named}: the batch is kept in {name}; "
        "lower learning_rate, set precision to float32, or remove these rows",
    )
