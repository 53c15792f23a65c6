"""One optimizer step: micro-batches read and accumulated, gradients clipped, weights moved, figures taken."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from thumbwheel.wire.recipe import Recipe
from torch import nn

from worker.training.data.batches import Block
from worker.training.microbatch import Prepared, Reader
from worker.training.reference import Reference
from worker.training.schedule import learning_rate_at
from worker.training.watch import class_gradients, guards
from worker.training.watch.step_metrics import Measures


def adamw(weights: Mapping[str, nn.Parameter], recipe: Recipe) -> torch.optim.AdamW:
    """AdamW over float32 weights, in one pass over each; matrices alone decay."""
    return torch.optim.AdamW(
        [
            {"params": [w for w in weights.values() if w.ndim >= 2], "weight_decay": recipe.weight_decay},
            {"params": [w for w in weights.values() if w.ndim < 2], "weight_decay": 0.0},
        ],
        lr=float(recipe.learning_rate),
        betas=(recipe.adam_beta1, recipe.adam_beta2),
        eps=recipe.adam_epsilon,
        fused=True,
    )


@dataclass(frozen=True)
class Stepper:
    """What every step needs."""

    reader: Reader
    reference: Reference
    weights: Mapping[str, nn.Parameter]
    optimizer: torch.optim.Optimizer
    total_steps: int
    workdir: Path

    def take(
        self,
        step: int,
        blocks: Sequence[Block],
        batches: Iterator[Prepared],
        running: tuple[float, float],
        between: Callable[[], None],
    ) -> tuple[dict[str, Any], tuple[float, float]]:
        """Take step number `step` over `blocks`: its figures, and `running`, bco's sum and count, behind it.

        `batches` gives what is prepared of each block in turn. `between` is called before each micro-batch; where it
        raises, the weights are those before the step. Raises `Refusal` on a number that is not finite.

        On a GPU the host waits for the device once, when all of the step is queued.
        """
        reader, objective, recipe, ranks = self.reader, self.reader.objective, self.reader.recipe, self.reader.ranks
        rows = sum(len(block.rows) for block in blocks)
        # The loss's denominator, known up front: rows of the whole step, or pairs.
        examples = rows // (2 if objective.data == "pairs" else 1)
        measures = Measures(objective, recipe)
        watch = guards.Watch(self.workdir, step)
        running_2 = torch.tensor(running, dtype=torch.float64).to(reader.arithmetic.device)
        class_norms: tuple[float | None, float | None] = (None, None)
        started = time.monotonic()
        self.optimizer.zero_grad(set_to_none=True)
        for number, block in enumerate(blocks):
            between()
            batch = reader.read(next(batches), running_2)
            losses = objective.loss(batch.log_probs, recipe)
            watch.see(batch, losses)
            if step == 1:
                with ranks.together():
                    watch.require_finite()
                guards.assert_policy_is_reference(batch.log_probs, losses, recipe, reader.arithmetic.precision)
            running_2 = running_2 if losses.running_2 is None else losses.running_2
            if number == 0 and step % class_gradients.EVERY == 1 and objective.data == "rows":
                trained = list(self.weights.values())
                class_norms = class_gradients.class_gradient_norms(losses, batch.log_probs, trained, ranks)
            loss = losses.loss_B.sum() / examples
            if batch.router_loss is not None:
                loss = loss + reader.router_coefficient * batch.router_loss * len(block.rows) / rows
            loss.backward()
            measures.add(batch.log_probs, losses, batch.forwards, [len(row.completion) for row in batch.members])

        ranks.sum_gradients(self.weights.values())
        norm = torch.nn.utils.clip_grad_norm_(self.weights.values(), recipe.max_gradient_norm)
        with ranks.together():
            watch.require_finite()
        gradient_norm = float(norm)
        members = [reader.rows[row] for block in blocks for row in block.rows]
        guards.require_finite_gradient(self.workdir, step, gradient_norm, members)
        totals = measures.totals(ranks)
        total, count = running_2.tolist()
        learning_rate = learning_rate_at(step, self.total_steps, recipe)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.optimizer.step()

        figures = measures.line(totals, time.monotonic() - started, examples)
        figures |= {"gradient_norm": gradient_norm, "learning_rate": learning_rate}
        figures |= {"gradient_norm_desirable": class_norms[0], "gradient_norm_undesirable": class_norms[1]}
        figures["delta"] = total / count if count > 0 else None
        return figures, (total, count)
