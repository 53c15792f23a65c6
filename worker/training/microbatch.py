"""From a block of the plan to what an objective is given: the policy's forwards beside the reference's log-probs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from thumbwheel.wire.recipe import Recipe
from torch import Tensor

from worker.training.data.batches import Block
from worker.training.data.rows import Row
from worker.training.data.tokens import fit_weights
from worker.training.forward.logprobs import Forward, Inputs, Reading, by_row
from worker.training.machine.out_of_memory import is_out_of_memory
from worker.training.machine.process import Stopped, StopRequest
from worker.training.machine.ranks import Ranks
from worker.training.models.policy import Arithmetic
from worker.training.objectives import LogProbs, Objective, TokenLogProbs
from worker.training.reference import Pair, Reference, matched, mismatched


@dataclass(frozen=True)
class Side:
    """Rows with their own completions, or with mismatched ones."""

    pairs: Sequence[Pair]
    reference: Tensor  # lp_ref: [B], or [N] where the objective looks at tokens
    weight_N: Tensor | None  # of tokens, where it does


@dataclass(frozen=True)
class Prepared:
    """What is known of a micro-batch before the policy has read it, on the policy's device."""

    members: Sequence[Row]  # this rank's share
    inputs: Inputs
    own: Side
    mismatched: Side | None
    tokens_B: Tensor
    desirable_B: Tensor
    weight_B: Tensor
    paired_B: Tensor
    labels_BK: Tensor | None


@dataclass(frozen=True)
class MicroBatch:
    members: Sequence[Row]
    log_probs: LogProbs
    mismatched: Sequence[Pair] | None
    forwards: tuple[Forward, ...]  # what the policy read: the rows, and their mismatched pairs where asked for
    router_loss: Tensor | None  # this rank's share of it, for a mixture of experts


@dataclass(frozen=True)
class Reader:
    """Reads blocks with one policy for one objective."""

    reading: Reading
    rows: Sequence[Row]
    objective: Objective
    recipe: Recipe
    arithmetic: Arithmetic
    max_length: int
    ranks: Ranks
    router_coefficient: float = 0.0

    def share(self, block: Block) -> Block:
        return self.ranks.share(block, unit=2 if self.objective.data == "pairs" else 1)

    def prepared(self, block: Block, reference: Reference) -> Prepared:
        """`block`: this rank's share. Asks no model: it can be done ahead, in another thread."""
        device, objective = self.arithmetic.device, self.objective
        members = [self.rows[row] for row in block.rows]
        pairs = matched(self.rows, block)
        others = mismatched(self.rows, block, self.max_length) if objective.mismatched else None

        def tensor(values: Sequence[float], dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.tensor(values, dtype=dtype).to(device)

        return Prepared(
            members=members,
            inputs=self.reading.inputs(pairs, others),
            own=self._side(pairs, reference, block.rows),
            mismatched=None if others is None else self._side(others, reference, _lenders(block)),
            tokens_B=tensor([len(row.completion) for row in members]),
            desirable_B=tensor(self._desirable(members), torch.bool),
            weight_B=tensor([row.weight for row in members]),
            paired_B=tensor([partner is not None for partner in block.partners], torch.bool),
            labels_BK=self._labels(members).to(device) if objective.labels else None,
        )

    def _desirable(self, members: Sequence[Row]) -> list[bool]:
        """The label of each row; of pairs, whether it is the chosen one."""
        if self.objective.data == "pairs":
            return [place % 2 == 0 for place in range(len(members))]
        return [row.desirable for row in members]

    def read(self, batch: Prepared, running_2: Tensor) -> MicroBatch:
        """Gradients flow through the policy's log-probs of the rows alone."""
        own, other = self.reading.forward(batch.inputs, router_loss=self.router_coefficient > 0)
        reference_B = _by_row(batch.own, own)
        other_B = other_reference_B = torch.zeros_like(reference_B)
        if batch.mismatched is not None and other is not None:
            other_B, other_reference_B = other.lp_B, _by_row(batch.mismatched, other)
        log_probs = LogProbs(
            policy_B=own.lp_B,
            reference_B=reference_B,
            tokens_B=batch.tokens_B,
            desirable_B=batch.desirable_B,
            weight_B=batch.weight_B,
            policy_mismatched_B=other_B,
            reference_mismatched_B=other_reference_B,
            paired_B=batch.paired_B,
            tokens=_by_token(batch.own, own),
            mismatched_tokens=_by_token(batch.mismatched, other),
            labels_BK=batch.labels_BK,
            running_2=running_2 if self.objective.running else None,
            over_ranks=self.ranks.sum,
        )
        others = None if batch.mismatched is None else batch.mismatched.pairs
        router_loss = None if own.router is None else own.router.share(own.router.choices.over(self.ranks))
        return MicroBatch(batch.members, log_probs, others, (own,) if other is None else (own, other), router_loss)

    def score(
        self,
        blocks: Sequence[Block],
        kept: Path,
        fingerprint: str,
        stop: StopRequest,
        progress: Callable[[int, int], None],
        earlier: Sequence[Path] = (),
    ) -> Reference:
        """The reference's log-probs that `blocks` need, from `kept` where it has them, from the files of `earlier` runs
        where these have them, else of the policy, which has to be at its start.

        Asked to stop, it keeps what it has and raises `Stopped`.
        """
        reference = Reference.load(kept, fingerprint)
        if not self.objective.reference:
            return reference
        before = len(reference.known)
        reference.look_in(earlier)
        stopped = False
        try:
            for done, block in enumerate(blocks):
                share = self.share(block)
                own = matched(self.rows, share)
                others = mismatched(self.rows, share, self.max_length) if self.objective.mismatched else None
                self._score(reference, own, others)
                progress(done + 1, len(blocks))
                if stopped := self.ranks.any(stop.requested):
                    break
        except Exception as error:
            # With fewer rows at once these hold as well.
            if is_out_of_memory(error) and self.ranks.world == 1:
                Reference(fingerprint, reference.known).save(kept)
            raise
        known = self.ranks.gather(reference.known)
        reference.cached = len(known.keys() & reference.earlier.keys())
        reference.scored = len(known) - reference.cached
        if self.ranks.writes and len(known) > before:
            Reference(fingerprint, known).save(kept)
        if stopped:
            raise Stopped
        return reference

    def _score(self, reference: Reference, own: Sequence[Pair], others: Sequence[Pair] | None) -> None:
        """Have `reference` know these rows of a block.

        What an attempt at this run knows already is read again with its block, so that a continued run computes what
        an uninterrupted one does; what earlier runs scored is not.
        """
        had_own = reference.take(own)
        had_others = reference.take(others) if others is not None else had_own
        if reference.knows([*own, *(others or ())]):
            return
        new = [slot for slot, had in enumerate(had_own) if not had]
        # A prompt whose own completion is known has to be read for the other one alone.
        rest = [slot for slot, had in enumerate(had_others) if had_own[slot] and not had]
        with torch.no_grad():
            if new:
                pairs, beside = _of(own, new), None if others is None else _of(others, new)
                first, second = self.reading.read(pairs, beside)
                self._learn(reference, pairs, first)
                if beside is not None and second is not None:
                    self._learn(reference, beside, second)
            if others is not None and rest:
                pairs = _of(others, rest)
                self._learn(reference, pairs, self.reading.read(pairs)[0])

    def _learn(self, reference: Reference, pairs: Sequence[Pair], read: Forward) -> None:
        if self.objective.by_token:
            reference.learn(pairs, read.lp_N, [len(completion) for _, completion in pairs])
        else:
            reference.learn(pairs, read.lp_B, [1] * len(pairs))

    def _side(self, pairs: Sequence[Pair], reference: Reference, lenders: Sequence[int]) -> Side:
        """`lenders`: whose completion each row has."""
        device, objective = self.arithmetic.device, self.objective
        known = reference.log_probs(pairs, device) if objective.reference else torch.zeros(len(pairs), device=device)
        if not objective.by_token:
            return Side(pairs, known, None)
        weights = [
            torch.ones(len(completion))
            if (given := self.rows[lender].token_weights) is None
            else torch.from_numpy(fit_weights(given, len(completion)))
            for lender, (_, completion) in zip(lenders, pairs, strict=True)
        ]
        return Side(pairs, known, (torch.cat(weights) if weights else torch.zeros(0)).to(device))

    def _labels(self, members: Sequence[Row]) -> Tensor:
        value = {True: 1.0, False: -1.0, None: 0.0}
        names = [label.name for label in self.recipe.labels]
        given = [[value[row.labels.get(name)] for name in names] for row in members]
        return torch.tensor(given).reshape(len(members), len(names))


def _by_row(side: Side, read: Forward) -> Tensor:
    """lp_ref_B."""
    return side.reference if side.weight_N is None else by_row(side.reference, read.row_N, read.completions)


def _by_token(side: Side | None, read: Forward | None) -> TokenLogProbs | None:
    if side is None or read is None or side.weight_N is None:
        return None
    return TokenLogProbs(read.lp_N, side.reference, read.row_N, side.weight_N)


def _lenders(block: Block) -> list[int]:
    return [row if partner is None else partner for row, partner in zip(block.rows, block.partners, strict=True)]


def _of(pairs: Sequence[Pair], slots: Sequence[int]) -> list[Pair]:
    return [pairs[slot] for slot in slots]
