"""Compares one batch of KTO and apo_zero_unpaired with TRL's KTOTrainer."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.parity import cases, ours, theirs
from tests.parity.cases import RowDict
from tests.parity.compare import Figures, Table
from tests.trainer import tiny
from worker.training.models.adapters import load_adapter


def compared(
    policy: Any,
    reference: Any,
    rows: Sequence[RowDict],
    *,
    objective: str = "kto",
    beta: float = 0.1,
    lambdas: tuple[float, float] = (1.0, 1.0),
) -> Table:
    recipe = ours.recipe_of(objective, beta=beta, lambda_desirable=lambdas[0], lambda_undesirable=lambdas[1])
    arguments = {
        "loss_type": objective, "beta": beta, "desirable_weight": lambdas[0], "undesirable_weight": lambdas[1],
    }  # fmt: skip
    return ours.beside(of_trl(policy, reference, rows, arguments), policy, reference, rows, recipe)


def of_trl(policy: Any, reference: Any, rows: Sequence[RowDict], arguments: dict[str, Any]) -> Figures:
    """Computes TRL's figures of all rows as one batch. A policy with adapters starts as `reference`: TRL freezes a copy
    of that adapter, and the weights of the policy are loaded after that.
    """
    adapted = hasattr(policy, "peft_config")
    frozen = {} if adapted else {"ref_model": copy.deepcopy(reference)}
    with theirs.kto_trainer(copy.deepcopy(reference), rows, arguments=arguments, **frozen) as trl_trainer:
        figures = theirs.figures(trl_trainer, policy.state_dict())
    if arguments.get("loss_type") == "apo_zero_unpaired":  # TRL logs a 0 that it does not use
        figures = Figures({name: figures.numbers[name] for name in figures.numbers if name != "z0"}, figures.gradients)
    return figures


def adapters(folder: Path, **kind: bool) -> tuple[Any, Any]:
    """Returns (policy, shipped): two adapters of one base with sharp predictions, which adapters change much. `kind` is
    the variant of LoRA.
    """
    base = cases.sharpened(tiny.model(), 5)
    base.save_pretrained(folder / "base")
    tiny.tokenizer().save_pretrained(folder / "base")
    policy = load_adapter(base, tiny.save_adapter(folder / "adapter", folder / "base", **kind), trainable=True)
    return policy, cases.overdone(policy)
