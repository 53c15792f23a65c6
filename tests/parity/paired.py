"""The objectives for pairs, and SFT, beside the TRL trainer of each, for one batch."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from tests.parity import cases, ours, theirs
from tests.parity.compare import Table

#: Ours → the loss_type of TRL's DPOTrainer.
DPO_LOSSES = {"dpo": "sigmoid", "ipo": "ipo", "slic": "hinge"}


def preferences_compared(
    objective: str, policy: Any, reference: Any, pairs: Sequence[Mapping[str, str]], *, beta: float
) -> Table:
    """dpo, ipo, slic: TRL's DPOTrainer."""
    from trl import DPOConfig, DPOTrainer

    arguments = {"loss_type": [DPO_LOSSES[objective]], "beta": beta}
    with theirs.trainer(
        DPOTrainer, DPOConfig, copy.deepcopy(policy), pairs, ref_model=copy.deepcopy(reference), arguments=arguments
    ) as made:
        found = theirs.figures(made, policy.state_dict())
    return ours.beside(found, policy, reference, cases.as_rows(pairs), ours.recipe_of(objective, beta=beta))


def simpo_compared(policy: Any, pairs: Sequence[Mapping[str, str]], *, beta: float, gamma: float) -> Table:
    """TRL's CPOTrainer with `loss_type` simpo and cpo_alpha 0: its default adds a likelihood term to SimPO. TRL logs
    sums of log-probs' means as rewards, as we do.
    """
    from trl.experimental.cpo import CPOConfig, CPOTrainer

    arguments = {"loss_type": "simpo", "beta": beta, "simpo_gamma": gamma, "cpo_alpha": 0.0}
    with theirs.trainer(CPOTrainer, CPOConfig, copy.deepcopy(policy), pairs, arguments=arguments) as made:
        found = theirs.figures(made, policy.state_dict())
    recipe = ours.recipe_of("simpo", beta=beta, simpo_gamma=gamma)
    return ours.beside(found, policy, policy, cases.as_rows(pairs), recipe)


def orpo_compared(policy: Any, pairs: Sequence[Mapping[str, str]], *, beta: float) -> Table:
    from trl.experimental.orpo import ORPOConfig, ORPOTrainer

    with theirs.trainer(ORPOTrainer, ORPOConfig, copy.deepcopy(policy), pairs, arguments={"beta": beta}) as made:
        found = theirs.figures(made, policy.state_dict())
    return ours.beside(found, policy, policy, cases.as_rows(pairs), ours.recipe_of("orpo", beta=beta))


def sft_compared(policy: Any, rows: Sequence[cases.RowDict]) -> Table:
    """TRL's SFTTrainer on prompts with completions, where prompt tokens count for nothing, as here."""
    from trl import SFTConfig, SFTTrainer

    texts = [{"prompt": row["prompt"], "completion": row["completion"]} for row in rows]
    with theirs.trainer(SFTTrainer, SFTConfig, copy.deepcopy(policy), texts) as made:
        found = theirs.figures(made, policy.state_dict())
    return ours.beside(found, policy, policy, rows, ours.recipe_of("sft"), loss_alone=True)


def token_log_probs(model: Any, ids: Sequence[int]) -> Tensor:
    """log π of every token but the first, of one sequence alone, in float64."""
    logits = model(input_ids=torch.tensor([ids])).logits[0].double()
    return torch.log_softmax(logits[:-1], dim=-1).gather(1, torch.tensor(ids[1:])[:, None])[:, 0]
