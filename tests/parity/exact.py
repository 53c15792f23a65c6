"""Computes KTO a third time, directly by its formula: in float64, each row alone and unpadded, from all logits.

It shows which side is right if two float32 computations differ, and covers models that TRL does not support.
"""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from thumbwheel.wire.recipe import Recipe
from torch import Tensor

from tests.parity.cases import RowDict
from tests.parity.compare import Figures, gradients
from tests.parity.ours import tokenised
from worker.training.data.rows import Row


def figures(policy: Any, reference: Any, rows: Sequence[RowDict], recipe: Recipe) -> Figures:
    """Computes the figures of one micro-batch; for z0, row i borrows the completion of row i − 1."""
    exact_policy, exact_reference = _in_float64(policy), _in_float64(reference)
    read = tokenised(rows)
    routed: list[tuple[Tensor, ...]] = []
    r = [log_prob(exact_policy, row, row, routed) - log_prob(exact_reference, row, row).detach() for row in read]
    with torch.no_grad():
        mismatched = [
            log_prob(exact_policy, row, other) - log_prob(exact_reference, row, other)
            for row, other in zip(read, [read[-1], *read[:-1]], strict=True)
        ]
    z0 = torch.stack(mismatched).mean().clamp(min=0)
    losses = [
        float(recipe.lambda_desirable) * torch.sigmoid(recipe.beta * (z0 - r_i))
        if row.desirable
        else float(recipe.lambda_undesirable) * torch.sigmoid(recipe.beta * (r_i - z0))
        for row, r_i in zip(read, r, strict=True)
    ]
    loss = torch.stack(losses).mean()
    if routed:
        loss = loss + exact_policy.config.router_aux_loss_coef * router_loss(routed, exact_policy.config)
    loss.backward()
    numbers = {"loss": loss.item(), "z0": z0.item()}
    for name, kind in (("reward of desirable", True), ("reward of undesirable", False)):
        rewards = [recipe.beta * r_i.item() for row, r_i in zip(read, r, strict=True) if row.desirable is kind]
        numbers |= {name: sum(rewards) / len(rewards)} if rewards else {}
    return Figures(numbers, gradients(exact_policy))


def _in_float64(model: Any) -> Any:
    copied = copy.deepcopy(model).double()
    copied.set_experts_implementation("eager")  # the fast implementation has no float64
    copied.zero_grad(set_to_none=True)
    return copied


def log_prob(model: Any, row: Row, completed_by: Row, routed: list[tuple[Tensor, ...]] | None = None) -> Tensor:
    """Returns Σ_t log π(y_t | x, y_<t) for the prompt of `row` and the completion of `completed_by`. Router logits are
    appended to `routed`, as [tokens, experts] for each layer.
    """
    ids = torch.tensor([[*row.prompt.tolist(), *completed_by.completion.tolist()]])
    output = model(input_ids=ids)
    if routed is not None and getattr(output, "router_logits", None) is not None:
        routed.append(output.router_logits)
    log_probs = torch.log_softmax(output.logits[0].double(), dim=-1)
    return torch.stack([log_probs[t - 1, ids[0, t]] for t in range(len(row.prompt), ids.shape[1])]).sum()


def router_loss(routed: Sequence[tuple[Tensor, ...]], config: Any) -> Tensor:
    """Returns E · Σ_e f_e · P_e over the tokens of all rows and layers; f_e is the share of tokens of expert e, P_e its
    mean probability (Fedus et al., JMLR 2022, arXiv 2101.03961, equations 4 to 6, there with one expert a token).
    """
    probabilities = torch.cat([torch.cat(layers) for layers in routed]).softmax(dim=-1)
    experts = probabilities.shape[-1]
    chosen = probabilities.topk(config.num_experts_per_tok, dim=-1).indices
    share = torch.bincount(chosen.flatten(), minlength=experts).double() / len(probabilities)
    return experts * (share * probabilities.mean(0)).sum()
