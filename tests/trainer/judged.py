"""Judged completions in plain Python numbers, and the tensors that objectives get for them."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from thumbwheel.wire.recipe import WITHOUT_LAMBDA, ObjectiveName, Recipe
from torch import Tensor

from tests.trainer import tiny
from worker.training.objectives import LogProbs, Losses, TokenLogProbs

LABELS = [
    {"name": "helpful", "weight": 0.7, "lambda_desirable": 1.3, "lambda_undesirable": 0.9},
    {"name": "honest", "weight": 2.0, "lambda_desirable": 0.8, "lambda_undesirable": 1.6},
]


@dataclass(frozen=True)
class Completion:
    """A completion, by the log-probs of its tokens in nats."""

    policy: tuple[float, ...]
    reference: tuple[float, ...]
    token_weights: tuple[float, ...]

    @property
    def lp(self) -> float:
        return sum(self.policy)

    @property
    def r(self) -> float:
        return sum(self.policy) - sum(self.reference)

    @property
    def weighted_r(self) -> float:
        return sum(w * (p - q) for w, p, q in zip(self.token_weights, self.policy, self.reference, strict=True))


@dataclass(frozen=True)
class Judged:
    own: Completion
    mismatched: Completion | None
    desirable: bool
    weight: float = 1.0
    labels: tuple[float, ...] = (0.0, 0.0)  # one for each of LABELS: +1, −1, or 0 without a label


def judged(rows: int = 8, seed: int = 0) -> list[Judged]:
    """Returns desirable and undesirable rows in turn, which also form pairs. The policy prefers mismatched ones."""
    choose = random.Random(seed)

    def completion(shift: float) -> Completion:
        reference = [choose.uniform(-4, -0.5) for _ in range(choose.randint(1, 5))]
        return Completion(
            policy=tuple(min(q + choose.gauss(shift, 0.6), -0.01) for q in reference),
            reference=tuple(reference),
            token_weights=tuple(choose.choice([0.0, 1.0, 2.5]) for _ in reference),
        )

    return [
        Judged(
            own=completion(0),
            mismatched=None if row == 3 else completion(0.3),
            desirable=row % 2 == 0,
            weight=choose.uniform(0.5, 1.5),
            labels=(choose.choice([-1.0, 0.0, 1.0]), choose.choice([-1.0, 0.0, 1.0])),
        )
        for row in range(rows)
    ]


def log_probs(
    rows: Sequence[Judged],
    *,
    dtype: torch.dtype = torch.float64,
    device: str = "cpu",
    policy_N: Tensor | None = None,
    running: tuple[float, float] = (0.0, 0.0),
    over_ranks: Callable[[Tensor], Tensor] = lambda sums: sums,
) -> LogProbs:
    """Returns the tensors of the rows. Gradients reach `tokens.policy_N`, also through policy_B."""

    def column(values: Sequence[Any]) -> Tensor:
        return torch.tensor(values, dtype=dtype, device=device)

    def tokens(completions: Sequence[Completion], policy_N: Tensor | None) -> TokenLogProbs:
        return TokenLogProbs(
            policy_N=column([p for each in completions for p in each.policy]) if policy_N is None else policy_N,
            reference_N=column([q for each in completions for q in each.reference]),
            row_N=torch.tensor([i for i, each in enumerate(completions) for _ in each.policy], device=device).long(),
            weight_N=column([w for each in completions for w in each.token_weights]),
        )

    def by_row(values_N: Tensor, read: TokenLogProbs) -> Tensor:
        return torch.zeros(len(rows), dtype=dtype, device=device).index_add(0, read.row_N, values_N)

    if policy_N is None:
        policy_N = column([p for row in rows for p in row.own.policy]).requires_grad_()
    own = tokens([row.own for row in rows], policy_N)
    # Without a partner any value may be here; as in the trainer it is the row itself.
    mismatched = tokens([row.mismatched or row.own for row in rows], None)
    return LogProbs(
        policy_B=by_row(own.policy_N, own),
        reference_B=by_row(own.reference_N, own),
        tokens_B=column([len(row.own.policy) for row in rows]),
        desirable_B=torch.tensor([row.desirable for row in rows], dtype=torch.bool, device=device),
        weight_B=column([row.weight for row in rows]),
        policy_mismatched_B=by_row(mismatched.policy_N, mismatched),
        reference_mismatched_B=by_row(mismatched.reference_N, mismatched),
        paired_B=torch.tensor([row.mismatched is not None for row in rows], dtype=torch.bool, device=device),
        tokens=own,
        mismatched_tokens=mismatched,
        labels_BK=column([row.labels for row in rows]).reshape(len(rows), len(LABELS)),
        running_2=torch.tensor(running, dtype=torch.float64, device=device),
        over_ranks=over_ranks,
    )


def slopes(losses: Losses, given: LogProbs) -> Tensor:
    """Returns d Σ loss / d log-prob for each token of the rows, [N]."""
    assert given.tokens is not None
    (slope_N,) = torch.autograd.grad(losses.loss_B.sum(), given.tokens.policy_N)
    return slope_N


def recipe_for(objective: ObjectiveName, **changes: Any) -> Recipe:
    lambdas = (1.0, 1.0) if objective in WITHOUT_LAMBDA else (1.7, 1.1)
    return Recipe.model_validate(
        {
            **tiny.RECIPE,
            "objective": objective,
            "beta": 0.3,
            "lambda_desirable": lambdas[0],
            "lambda_undesirable": lambdas[1],
            "labels": LABELS if objective == "mo_kto" else (),
            **changes,
        }
    )
