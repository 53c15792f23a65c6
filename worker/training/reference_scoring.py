"""Scores the reference: the policy reads all blocks of the run while it still is the shipped checkpoint."""

from collections.abc import Sequence

import torch

from worker.training.data.batches import Block
from worker.training.forward.logprobs import Forward
from worker.training.machine.out_of_memory import is_out_of_memory
from worker.training.machine.process import Stopped
from worker.training.microbatch import Collator
from worker.training.reference import Pair, ReferenceScores, matched, mismatched, reference_fingerprint
from worker.training.training_run import TrainingRun


def scored_reference(run: TrainingRun, collator: Collator) -> ReferenceScores:
    """Returns the reference's log-probs of all that the run reads.

    Each comes from reference.safetensors where an earlier attempt scored it, from the files of earlier runs where one
    of these did, else from the policy. Raises `Stopped` where the run is to stop; what was scored is saved.
    """
    start, objective, ranks = run.start, run.start.objective, run.ranks
    kept = run.job.workdir / "reference.safetensors"
    packed, by_token = start.reading.packed, objective.by_token
    fingerprint = reference_fingerprint(run.job, start.arithmetic, start.max_length, by_token=by_token, packed=packed)
    reference = ReferenceScores.load(kept, fingerprint)
    if not objective.reference:
        return reference
    before = len(reference.known)
    reference.look_in(sorted((run.job.workdir / "scored-before").glob("*.safetensors")))
    blocks, stopped = run.first_epoch(), False
    try:
        for done, block in enumerate(blocks, 1):
            score_block(reference, block, collator)
            run.journal.progress("referencing", done, len(blocks))
            if stopped := run.stop_requested():
                break
    except Exception as error:
        # With fewer rows at once these hold as well.
        if is_out_of_memory(error) and ranks.world == 1:
            ReferenceScores(fingerprint, reference.known).save(kept)
        raise
    known = ranks.gather(reference.known)
    reference.cached = len(known.keys() & reference.earlier.keys())
    reference.scored = len(known) - reference.cached
    if ranks.writes and len(known) > before:
        ReferenceScores(fingerprint, known).save(kept)
    if stopped:
        raise Stopped
    return reference


def score_block(reference: ReferenceScores, block: Block, collator: Collator) -> None:
    """Adds this rank's rows of `block` to what `reference` knows, with their mismatched completions where these count.

    What an attempt at this run knows already is read again with its block, so that a continued run computes what an
    uninterrupted one does; what earlier runs scored is not.
    """
    share = collator.share(block)
    own = matched(collator.rows, share)
    others = mismatched(collator.rows, share, collator.max_length) if collator.objective.mismatched else None
    had_own = reference.take(own)
    had_others = reference.take(others) if others is not None else had_own
    if reference.knows([*own, *(others or ())]):
        return
    new = [slot for slot, had in enumerate(had_own) if not had]
    # A prompt whose own completion is known has to be read for the other one alone.
    rest = [slot for slot, had in enumerate(had_others) if had_own[slot] and not had]
    by_token = collator.objective.by_token
    with torch.no_grad():
        if new:
            pairs, beside = _of(own, new), None if others is None else _of(others, new)
            first, second = collator.reading.read(pairs, beside)
            _learn(reference, pairs, first, by_token=by_token)
            if beside is not None and second is not None:
                _learn(reference, beside, second, by_token=by_token)
        if others is not None and rest:
            pairs = _of(others, rest)
            _learn(reference, pairs, collator.reading.read(pairs)[0], by_token=by_token)


def _learn(reference: ReferenceScores, pairs: Sequence[Pair], read: Forward, *, by_token: bool) -> None:
    if by_token:
        reference.learn(pairs, read.lp_N, [len(completion) for _, completion in pairs])
    else:
        reference.learn(pairs, read.lp_B, [1] * len(pairs))


def _of(pairs: Sequence[Pair], slots: Sequence[int]) -> list[Pair]:
    return [pairs[slot] for slot in slots]
