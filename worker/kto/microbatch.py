"""From a block of the plan to what an objective is given: the policy's forwards beside the reference's log-probs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from app.runs.recipe import Recipe
from worker.kto.batches import Block
from worker.kto.logprobs import Forward, Reading, by_row
from worker.kto.models import Arithmetic
from worker.kto.objectives import LogProbs, Objective, TokenLogProbs
from worker.kto.process import Stopped, StopRequest
from worker.kto.ranks import Ranks
from worker.kto.reference import Pair, Reference, matched, mismatched
from worker.kto.rows import Row
from worker.kto.tokens import fit_weights


@dataclass(frozen=True)
class MicroBatch:
    members: Sequence[Row]  # this rank's share
    log_probs: LogProbs
    mismatched: Sequence[Pair] | None
    forwards: tuple[Forward, ...]  # what the policy read: the rows, and their mismatched pairs where asked for

    @property
    def router_loss(self) -> Tensor | None:
        return self.forwards[0].router_loss


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

    def read(self, block: Block, reference: Reference, running_2: Tensor) -> MicroBatch:
        """`block`: this rank's share. Gradients flow through the policy's log-probs of the rows alone."""
        device, objective = self.arithmetic.device, self.objective
        members = [self.rows[row] for row in block.rows]
        pairs = matched(self.rows, block)
        others = mismatched(self.rows, block, self.max_length) if objective.mismatched else None
        own, other = self.reading.read(pairs, others, router_loss=self.router_coefficient > 0)
        reference_B, tokens = torch.zeros(len(members), device=device), None
        if objective.reference:
            known = reference.log_probs(pairs, device)
            reference_B = by_row(known, own.row_N, own.rows) if objective.by_token else known
            if objective.by_token:
                tokens = self._tokens(own, known, block.rows)
        other_B, other_reference_B, other_tokens = torch.zeros_like(reference_B), torch.zeros_like(reference_B), None
        if others is not None and other is not None:
            known = reference.log_probs(others, device)
            other_B = other.lp_B
            other_reference_B = by_row(known, other.row_N, other.rows) if objective.by_token else known
            if objective.by_token:
                other_tokens = self._tokens(other, known, _lenders(block))
        log_probs = LogProbs(
            policy_B=own.lp_B,
            reference_B=reference_B,
            tokens_B=torch.tensor([len(row.completion) for row in members], dtype=torch.float32, device=device),
            desirable_B=torch.tensor([row.desirable for row in members], dtype=torch.bool, device=device),
            weight_B=torch.tensor([row.weight for row in members], dtype=torch.float32, device=device),
            policy_mismatched_B=other_B,
            reference_mismatched_B=other_reference_B,
            paired_B=torch.tensor([p is not None for p in block.partners], dtype=torch.bool, device=device),
            tokens=tokens,
            mismatched_tokens=other_tokens,
            labels_BK=self._labels(members) if objective.labels else None,
            running_2=running_2 if objective.running else None,
            over_ranks=self.ranks.sum,
        )
        return MicroBatch(members, log_probs, others, (own,) if other is None else (own, other))

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
        for done, block in enumerate(blocks):
            share = self.share(block)
            own = matched(self.rows, share)
            others = mismatched(self.rows, share, self.max_length) if self.objective.mismatched else None
            self._score(reference, own, others)
            progress(done + 1, len(blocks))
            if stopped := self.ranks.any(stop.requested):
                break
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

    def _tokens(self, read: Forward, reference_N: Tensor, lenders: Sequence[int]) -> TokenLogProbs:
        """`lenders`: whose completion each row of `read` has."""
        rows = read.row_N
        counts = torch.bincount(rows, minlength=len(lenders)).tolist()
        weights = [
            torch.ones(count)
            if (given := self.rows[lender].token_weights) is None
            else torch.from_numpy(fit_weights(given, count))
            for lender, count in zip(lenders, counts, strict=True)
        ]
        weight_N = torch.cat(weights) if weights else torch.zeros(0)
        return TokenLogProbs(read.lp_N, reference_N, rows, weight_N.to(rows.device))

    def _labels(self, members: Sequence[Row]) -> Tensor:
        value = {True: 1.0, False: -1.0, None: 0.0}
        names = [label.name for label in self.recipe.labels]
        given = [[value[row.labels.get(name)] for name in names] for row in members]
        return torch.tensor(given, device=self.arithmetic.device).reshape(len(members), len(names))


def _lenders(block: Block) -> list[int]:
    return [row if partner is None else partner for row, partner in zip(block.rows, block.partners, strict=True)]


def _of(pairs: Sequence[Pair], slots: Sequence[int]) -> list[Pair]:
    return [pairs[slot] for slot in slots]
