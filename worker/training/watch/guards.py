"""Invariants of training, checked at every step.

A broken invariant is a bug of ours and crashes. A number that is not finite is refused; the refusal names the rows, and
the batch is kept for a diagnosis.
"""

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from thumbwheel.wire.recipe import Recipe
from torch import Tensor

from app.durable import write_atomically
from worker.training.data.rows import Row
from worker.training.forward.packed_or_padded import SAME_WITHIN
from worker.training.machine.process import TrainingRefusal
from worker.training.microbatch import MicroBatch
from worker.training.objectives import OBJECTIVES, LogProbs, Losses
from worker.training.objectives.label_noise import corrected, corrects
from worker.training.reference import Pair

#: Objectives whose loss is λ·σ(0) while the policy equals the reference.
HALF_LAMBDA_AT_FIRST = frozenset({"kto", "apo_zero_unpaired"})


def assert_policy_is_reference(log_probs: LogProbs, losses: Losses, recipe: Recipe, precision: torch.dtype) -> None:
    """Asserts, before the first update and within `precision`, that r = 0, z0 = 0, and L = λ/2 for kto.

    r and z0 are checked if the objective has them. All ranks must call it together: z0 is computed from all their rows.
    """
    objective = OBJECTIVES[recipe.objective]
    relative, absolute = SAME_WITHIN[precision]
    z0_limit = 0.0
    if objective.mismatched:
        heaviest = 1.0
        if log_probs.mismatched_tokens is not None and log_probs.mismatched_tokens.weight_N.numel():
            heaviest = float(log_probs.mismatched_tokens.weight_N.abs().max())
        paired_B = log_probs.paired_B
        apart_B = heaviest * (absolute + relative * log_probs.policy_mismatched_B.abs())
        # z0 is a mean over all ranks' rows, so it is no further from 0 than their mean distance.
        total, count = log_probs.over_ranks(torch.stack([(apart_B * paired_B).sum(), paired_B.sum().float()])).tolist()
        z0_limit = total / max(count, 1.0)
        assert abs(float(losses.z0_raw)) <= z0_limit, (
            f"before the first update z0 must be 0, it is {float(losses.z0_raw):g}"
        )
    if not objective.reference or not len(log_probs.policy_B):
        return
    policy_B = log_probs.policy_B.detach()
    r_B = policy_B - log_probs.reference_B
    limit_B = absolute + relative * policy_B.abs()
    assert bool((r_B.abs() <= limit_B).all()), (
        f"before the first update r must be 0, it reaches {r_B.abs().max():g} nats"
    )
    if recipe.objective in HALF_LAMBDA_AT_FIRST:
        d, u = float(recipe.lambda_desirable), float(recipe.lambda_undesirable)
        lambda_B = torch.where(log_probs.desirable_B, d, u)
        expected_B, slope_B = lambda_B / 2, lambda_B / 4  # σ has slope 1/4 at most
        if corrects(recipe):
            expected_B = corrected(expected_B, (d + u - lambda_B) / 2, log_probs.desirable_B, recipe)
            slope_B = torch.full_like(slope_B, (d + u) / 4 / (1 - recipe.mislabelled_good - recipe.mislabelled_bad))
        expected_B, slope_B = log_probs.weight_B * expected_B, log_probs.weight_B * slope_B
        slack_B = slope_B * recipe.beta * (limit_B + z0_limit) + 1e-6 * (1 + slope_B)
        off_B = (losses.loss_B.detach() - expected_B).abs()
        assert bool((off_B <= slack_B).all()), f"before the first update L must be λ/2, it is off by {off_B.max():g}"


@dataclass(frozen=True)
class Seen:
    """The parts of a micro-batch that a reproduction needs, without its graph."""

    members: Sequence[Row]
    mismatched: Sequence[Pair] | None
    figures: Mapping[str, Tensor]  # each [B]
    finite_B: Tensor


class Watch:
    """Checks that all log-probs and losses of one step are finite.

    The values are read in `require_finite` alone, so that the host need not wait for the device at each micro-batch.
    """

    def __init__(self, workdir: Path, step: int) -> None:
        self._workdir, self._step = workdir, step
        self._seen: list[Seen] = []

    def see(self, batch: MicroBatch, log_probs: LogProbs, losses: Losses) -> None:
        rows = len(batch.rows)
        loss_B = losses.loss_B.detach()
        figures = {
            "policy": log_probs.policy_B.detach(),
            "reference": log_probs.reference_B,
            "policy_mismatched": log_probs.policy_mismatched_B,
            "reference_mismatched": log_probs.reference_mismatched_B,
            "loss": loss_B if len(loss_B) == rows else loss_B.repeat_interleave(2),  # a pair's, for both of its rows
        }
        finite_B = torch.stack([figure.float() for figure in figures.values()]).isfinite().all(0)
        mismatched = None if batch.mismatched is None else batch.mismatched.pairs
        self._seen.append(Seen(batch.rows, mismatched, figures, finite_B))

    def require_finite(self) -> None:
        """Raises `TrainingRefusal` naming the rows whose log-probs or loss are NaN or infinite."""
        seen, self._seen = self._seen, []
        if not seen or bool(torch.cat([batch.finite_B for batch in seen]).all()):
            return
        first = next(batch for batch in seen if not bool(batch.finite_B.all()))
        odd = [row for row, finite in zip(first.members, first.finite_B.tolist(), strict=True) if not finite]
        values: dict[str, Any] = {
            name: [str(value) for value in figure.tolist()] for name, figure in first.figures.items()
        }
        if first.mismatched is not None:
            values["mismatched"] = [
                {"prompt_ids": prompt.tolist(), "completion_ids": completion.tolist()}
                for prompt, completion in first.mismatched
            ]
        _refuse(self._workdir, self._step, "a log-prob or loss", odd, first.members, values)


def require_finite_gradient(workdir: Path, step: int, norm: float, members: Sequence[Row]) -> None:
    if not math.isfinite(norm):
        _refuse(workdir, step, "the gradient", members, members, {"gradient_norm": [str(norm)]})


def _refuse(
    workdir: Path, step: int, what: str, odd: Sequence[Row], members: Sequence[Row], values: Mapping[str, Any]
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
    # Before the first update no learning rate has had an effect.
    lower = "" if step == 1 else "lower learning_rate, "
    raise TrainingRefusal(
        "not_finite",
        f"step {step}: {what} is NaN or infinite, rows with completion_id {named}: the batch is kept in {name}; "
        f"{lower}set precision to float32, or remove these rows",
    )
