"""Compares whole runs with TRL's KTOTrainer: the loss of each of fifty optimizer steps, and the final weights.

Our side is `worker.training.train.train` on a staged WORKDIR. TRL gets our plan, the same rows in the same
micro-batches. Each micro-batch is reversed, because TRL pairs a row with the row before it and our plan with the next.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file
from torch import Tensor

from tests.parity import theirs
from tests.parity.cases import MAX_LENGTH
from tests.parity.compare import Compared, Table, gradient, number
from tests.parity.ours import recipe_of, tokenised
from tests.trainer import tiny
from worker.training.data import batches
from worker.training.models.adapters import load_adapter
from worker.training.train import train

ROWS, MICRO_BATCH = 40, 4
SETTINGS: dict[str, Any] = {
    "micro_batch_size": MICRO_BATCH, "max_length": MAX_LENGTH, "schedule": "constant",
    "warmup_share": 0.0, "weight_decay": 0.01, "lambda_desirable": 1.7, "lambda_undesirable": 1.0,
    "save_every_steps": 100, "drift": {"checks": 0},
}  # fmt: skip


def rows() -> list[dict[str, Any]]:
    """Returns rows with different prompts and completions, so that every rotation is a valid pairing."""
    return [{**row, "completion": f" {number}{row['completion']}"} for number, row in enumerate(tiny.text_rows(ROWS))]


def compared(
    objective: str = "kto",
    *,
    family: str = "llama",
    lora: bool = False,
    steps: int = 50,
    accumulated: int = 1,
    learning_rate: float = 1e-3,
) -> Table:
    """Compares a full fine-tuning of a random model, or a LoRA that continues a shipped, nonzero adapter.

    accumulated  micro-batches per step
    """
    batch = MICRO_BATCH * accumulated
    recipe = recipe_of(
        objective,
        method="lora" if lora else "full",
        batch_size=batch,
        epochs=steps * batch // ROWS,
        learning_rate=learning_rate,
        **SETTINGS,
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        base = tiny.save_model(folder / "base", family)
        adapter = tiny.save_adapter(folder / "adapter", base) if lora else None
        workdir = tiny.stage(folder / "work", base, rows(), adapter=adapter, **recipe.model_dump())
        train(workdir)
        ours = [line["loss"] for line in tiny.lines(workdir / "metrics.jsonl")]
        start, ended = _weights(adapter or base), _weights(workdir / "output")
        losses, theirs_ended = _of_trl(base, adapter, _in_trls_order(recipe), recipe)
    assert len(ours) == len(losses) == steps, "both sides must take every step"
    by_step = [number(*pair) for pair in zip(ours, losses, strict=True)]
    return {
        "loss, first step": by_step[0],
        "loss, last step": by_step[-1],
        f"loss, worst of {steps} steps": max(by_step, key=lambda loss: loss.relative),
        "way of the weights": _way(start, ended, theirs_ended),
    }


def _in_trls_order(recipe: Any) -> list[dict[str, Any]]:
    given = rows()
    plan = batches.plan(
        tokenised(given), MICRO_BATCH, even_classes=False, seed=recipe.seed, mismatched=recipe.objective == "kto"
    )
    blocks = [
        block for epoch in range(recipe.epochs)
        for step in plan.steps(epoch, recipe.batch_size // MICRO_BATCH, recipe.seed) for block in step
    ]  # fmt: skip
    for block in blocks:
        behind = (*block.rows[1:], block.rows[0])
        assert not plan.mismatched or block.partners == behind, "every row is paired with the next one"
    return [given[row] for block in blocks for row in reversed(block.rows)]


def _of_trl(
    base: Path, adapter: Path | None, ordered: Sequence[Any], recipe: Any
) -> tuple[list[float], dict[str, Tensor]]:
    """Returns the loss of every optimizer step of TRL and the trained weights."""
    from trl import KTOConfig, KTOTrainer

    losses: list[Tensor] = []

    class Recorded(KTOTrainer):
        """A trainer that records its losses without the rounding of its log."""

        def compute_loss(self, *given: Any, **more: Any) -> Tensor:
            loss: Tensor = super().compute_loss(*given, **more)
            losses.append(loss.detach().double())
            return loss

    model = transformers.AutoModelForCausalLM.from_pretrained(base)
    more = {} if adapter else {"ref_model": transformers.AutoModelForCausalLM.from_pretrained(base)}
    model = load_adapter(model, adapter, trainable=True) if adapter else model
    arguments = {
        "loss_type": recipe.objective, "beta": recipe.beta, "desirable_weight": recipe.lambda_desirable,
        "undesirable_weight": recipe.lambda_undesirable, "per_device_train_batch_size": MICRO_BATCH,
        "gradient_accumulation_steps": recipe.batch_size // MICRO_BATCH, "num_train_epochs": 1, "optim": "adamw_torch",
        "learning_rate": recipe.learning_rate, "lr_scheduler_type": "constant", "weight_decay": recipe.weight_decay,
        "adam_beta1": recipe.adam_beta1, "adam_beta2": recipe.adam_beta2, "adam_epsilon": recipe.adam_epsilon,
        "max_grad_norm": recipe.max_gradient_norm,
    }  # fmt: skip
    with theirs.trainer(Recorded, KTOConfig, model, ordered, arguments=arguments, **more) as trl_trainer:
        trl_trainer.train()
        weights = {
            name.replace(".default", ""): weight.detach() for name, weight in trl_trainer.model.named_parameters()
        }
    in_step = torch.stack(losses).view(-1, recipe.batch_size // MICRO_BATCH)
    return in_step.mean(1).tolist(), weights


def _weights(folder: Path) -> dict[str, Tensor]:
    """Loads the weights of the model or adapter in `folder`."""
    if (folder / "adapter_model.safetensors").exists():
        return load_file(folder / "adapter_model.safetensors")
    return {
        name: weight.detach()
        for name, weight in transformers.AutoModelForCausalLM.from_pretrained(folder).named_parameters()
    }


def _way(start: dict[str, Tensor], ours: dict[str, Tensor], theirs_ended: dict[str, Tensor]) -> Compared:
    """Compares ‖w_end − w_start‖ of all weights; the difference is the worst tensor's, relative to its own way."""
    return gradient(
        {name: ours[name] - weight for name, weight in start.items()},
        {name: theirs_ended[name] - weight for name, weight in start.items()},
    )
