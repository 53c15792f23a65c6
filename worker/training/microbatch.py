"""Micro-batches: rows, their mismatched completions and the reference's log-probs as tensors on the policy's device.

Legend: B rows of this rank's share of a micro-batch, N their completion tokens, K labels.

Collating calls no model, so a thread can do it ahead of the loop. Once the policy has read a micro-batch, its
`log_probs` are what an objective takes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from thumbwheel.wire.recipe import Recipe
from torch import Tensor

from worker.training.data.batches import Block
from worker.training.data.rows import Row
from worker.training.data.tokens import fit_weights
from worker.training.forward.logprobs import Forward, Inputs, Reading, by_row
from worker.training.machine.ranks import Ranks
from worker.training.objectives import OBJECTIVES, LogProbs, Objective, TokenLogProbs
from worker.training.reference import Pair, ReferenceScores, matched, mismatched


@dataclass(frozen=True)
class BatchSide:
    """Rows with their own completions, or with mismatched ones."""

    pairs: Sequence[Pair]
    reference: Tensor  # lp_ref: [B], or [N] where the objective looks at tokens
    weight_N: Tensor | None  # of tokens, where it does


@dataclass(frozen=True)
class MicroBatch:
    """A micro-batch before the policy reads it, on the policy's device."""

    rows: Sequence[Row]
    inputs: Inputs
    own: BatchSide
    mismatched: BatchSide | None
    tokens_B: Tensor
    desirable_B: Tensor
    weight_B: Tensor
    paired_B: Tensor
    labels_BK: Tensor | None

    @property
    def completion_lengths(self) -> list[int]:
        return [len(row.completion) for row in self.rows]

    def log_probs(self, own: Forward, other: Forward | None, running_2: Tensor | None, ranks: Ranks) -> LogProbs:
        """Returns the log-probs of a policy that has read `inputs` beside those of the reference.

        Gradients flow through the policy's log-probs of the rows' own completions alone.
        """
        reference_B = _by_row(self.own, own)
        other_B = other_reference_B = torch.zeros_like(reference_B)
        if self.mismatched is not None and other is not None:
            other_B, other_reference_B = other.lp_B, _by_row(self.mismatched, other)
        return LogProbs(
            policy_B=own.lp_B,
            reference_B=reference_B,
            tokens_B=self.tokens_B,
            desirable_B=self.desirable_B,
            weight_B=self.weight_B,
            policy_mismatched_B=other_B,
            reference_mismatched_B=other_reference_B,
            paired_B=self.paired_B,
            tokens=_by_token(self.own, own),
            mismatched_tokens=_by_token(self.mismatched, other),
            labels_BK=self.labels_BK,
            running_2=running_2,
            over_ranks=ranks.sum,
        )


@dataclass(frozen=True)
class Collator:
    """Makes micro-batches of blocks of the plan, for one policy and one objective."""

    reading: Reading
    rows: Sequence[Row]
    recipe: Recipe
    max_length: int
    ranks: Ranks

    @property
    def objective(self) -> Objective:
        return OBJECTIVES[self.recipe.objective]

    def share(self, block: Block) -> Block:
        """Returns this rank's share of `block`. The two rows of a pair stay together."""
        return self.ranks.share(block, unit=2 if self.objective.data == "pairs" else 1)

    def collate(self, block: Block, reference: ReferenceScores) -> MicroBatch:
        """Returns this rank's share of `block` as tensors."""
        share, device, objective = self.share(block), self.reading.device, self.objective
        members = [self.rows[row] for row in share.rows]
        pairs = matched(self.rows, share)
        others = mismatched(self.rows, share, self.max_length) if objective.mismatched else None

        def tensor(values: Sequence[float], dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.tensor(values, dtype=dtype).to(device)

        return MicroBatch(
            rows=members,
            inputs=self.reading.inputs(pairs, others),
            own=self._side(pairs, reference, share.rows),
            mismatched=None if others is None else self._side(others, reference, _lenders(share)),
            tokens_B=tensor([len(row.completion) for row in members]),
            desirable_B=tensor(self._desirable(members), torch.bool),
            weight_B=tensor([row.weight for row in members]),
            paired_B=tensor([partner is not None for partner in share.partners], torch.bool),
            labels_BK=self._labels(members).to(device) if objective.labels else None,
        )

    def _desirable(self, members: Sequence[Row]) -> list[bool]:
        """Returns the label of each row; of a pair, whether the row is the chosen one."""
        if self.objective.data == "pairs":
            return [place % 2 == 0 for place in range(len(members))]
        return [row.desirable for row in members]

    def _side(self, pairs: Sequence[Pair], reference: ReferenceScores, lenders: Sequence[int]) -> BatchSide:
        """Returns the reference's log-probs of `pairs`; `lenders` are the rows that their completions are from."""
        device, objective = self.reading.device, self.objective
        known = reference.log_probs(pairs, device) if objective.reference else torch.zeros(len(pairs), device=device)
        if not objective.by_token:
            return BatchSide(pairs, known, None)
        weights = [
            torch.ones(len(completion))
            if (given := self.rows[lender].token_weights) is None
            else torch.from_numpy(fit_weights(given, len(completion)))
            for lender, (_, completion) in zip(lenders, pairs, strict=True)
        ]
        return BatchSide(pairs, known, (torch.cat(weights) if weights else torch.zeros(0)).to(device))

    def _labels(self, members: Sequence[Row]) -> Tensor:
        value = {True: 1.0, False: -1.0, None: 0.0}
        names = [label.name for label in self.recipe.labels]
        given = [[value[row.labels.get(name)] for name in names] for row in members]
        return torch.tensor(given).reshape(len(members), len(names))


def _by_row(side: BatchSide, read: Forward) -> Tensor:
    """Returns lp_ref_B."""
    return side.reference if side.weight_N is None else by_row(side.reference, read.row_N, read.completions)


def _by_token(side: BatchSide | None, read: Forward | None) -> TokenLogProbs | None:
    if side is None or read is None or side.weight_N is None:
        return None
    return TokenLogProbs(read.lp_N, side.reference, read.row_N, side.weight_N)


def _lenders(block: Block) -> list[int]:
    return [row if partner is None else partner for row, partner in zip(block.rows, block.partners, strict=True)]
