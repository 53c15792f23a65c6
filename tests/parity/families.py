"""Compares one batch of KTO, for every kind of decoder, with the exact formula and with TRL's KTOTrainer."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch

from tests.parity import cases, exact, ours, unpaired
from tests.parity.compare import Table, table
from tests.trainer import tiny

#: Families with the feature that each covers. The cap of gemma2 is low enough to change the logits of a random model.
FAMILIES: Mapping[str, dict[str, Any]] = {
    "llama": {},  # the plain case
    "qwen2": {},  # tied embeddings, biases
    "qwen3": {},  # normed queries and keys
    "gemma": {},  # tied and scaled embeddings
    "gemma2": {"final_logit_softcapping": 5.0},  # capped logits, a sliding window shorter than the rows
    "gpt2": {},  # learnt positions, dropout in its config, Conv1D
    "gpt_neox": {},  # parallel residuals
    "mixtral": {},  # experts, with the routers' auxiliary loss
}


class Given(NamedTuple):
    policy: Any
    reference: Any
    rows: list[dict[str, Any]]
    recipe: Any


def given(family: str) -> Given:
    policy = tiny.model(family, **FAMILIES[family])
    recipe = ours.recipe_of("kto", beta=0.1, lambda_desirable=1.7, lambda_undesirable=1.0)
    return Given(policy, cases.sharpened(policy, 8), cases.unpaired(letters=2), recipe)


def beside_the_formula(family: str, precision: torch.dtype = torch.float32) -> Table:
    inputs = given(family)
    return table(ours.figures(*inputs, precision=precision), exact.figures(*inputs))


def beside_trl(family: str) -> Table:
    inputs = given(family)
    return unpaired.compared(inputs.policy, inputs.reference, inputs.rows, lambdas=(1.7, 1.0))
