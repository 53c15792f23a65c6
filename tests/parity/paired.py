"""Compares one batch of each objective for pairs, and of SFT, with its trainer in TRL."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from tests.parity import cases, ours, theirs
from tests.parity.compare import Table

#: Our name of an objective → the loss_type of TRL's DPOTrainer.
DPO_LOSSES = {"dpo": "sigmoid", "ipo": "ipo", "slic": "hinge"}


def preferences_compared(
    objective: str, policy: Any, reference: Any, pairs: Sequence[Mapping[str, str]], *, beta: float
) -> Table:
    """Compares dpo, ipo or slic with TRL's DPOTrainer."""
    from trl import DPOConfig, DPOTrainer

    arguments = {"loss_type": [DPO_LOSSES[objective]], "beta": beta}
    with theirs.trainer(
        DPOTrainer, DPOConfig, copy.deepcopy(policy), pairs, ref_model=copy.deepcopy(reference), arguments=arguments
    ) as trl_trainer:
        figures = theirs.figures(trl_trainer, policy.state_dict())
    return ours.beside(figures, policy, reference, cases.as_rows(pairs), ours.recipe_of(objective, beta=beta))


def simpo_compared(policy: Any, pairs: Sequence[Mapping[str, str]], *, beta: float, gamma: float) -> Table:
    """Compares simpo with TRL's CPOTrainer of `loss_type` simpo. Its cpo_alpha is 0, since the default adds a term of
    likelihood to SimPO. TRL logs rewards as sums of mean log-probs, as we do.
    """
    from trl.experimental.cpo import CPOConfig, CPOTrainer

    arguments = {"loss_type": "simpo", "beta": beta, "simpo_gamma": gamma, "cpo_alpha": 0.0}
    with theirs.trainer(CPOTrainer, CPOConfig, copy.deepcopy(policy), pairs, arguments=arguments) as trl_trainer:
        figures = theirs.figures(trl_trainer, policy.state_dict())
    recipe = ours.recipe_of("simpo", beta=beta, simpo_gamma=gamma)
    return ours.beside(figures, policy, policy, cases.as_rows(pairs), recipe)


def orpo_compared(policy: Any, pairs: Sequence[Mapping[str, str]], *, beta: float) -> Table:
    from trl.experimental.orpo import ORPOConfig, ORPOTrainer

    with theirs.trainer(ORPOTrainer, ORPOConfig, copy.deepcopy(policy), pairs, arguments={"beta": beta}) as trl_trainer:
        figures = theirs.figures(trl_trainer, policy.state_dict())
    return ours.beside(figures, policy, policy, cases.as_rows(pairs), ours.recipe_of("orpo", beta=beta))


def sft_compared(policy: Any, rows: Sequence[cases.RowDict]) -> Table:
    """Compares sft with TRL's SFTTrainer on prompts with completions, in which prompt tokens do not count, as here."""
    from trl import SFTConfig, SFTTrainer

    texts = [{"prompt": row["prompt"], "completion": row["completion"]} for row in rows]
    with theirs.trainer(SFTTrainer, SFTConfig, copy.deepcopy(policy), texts) as trl_trainer:
        figures = theirs.figures(trl_trainer, policy.state_dict())
    return ours.beside(figures, policy, policy, rows, ours.recipe_of("sft"), loss_alone=True)


def token_log_probs(model: Any, ids: Sequence[int]) -> Tensor:
    """Returns log π of every token of one sequence but the first, in float64."""
    logits = model(input_ids=torch.tensor([ids])).logits[0].double()
    return torch.log_softmax(logits[:-1], dim=-1).gather(1, torch.tensor(ids[1:])[:, None])[:, 0]
