"""Reads the samples and held-out scores of the leading arm and of each other arm, for their paired differences."""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import pyarrow.parquet as pq
from thumbwheel import wire

from app import artifacts
from app.checkpoints import few_shots, held_out_scores
from app.checkpoints.few_shots import FEW_SHOTS
from app.checkpoints.held_out_scores import HeldOutScores
from app.errors import NotFound
from app.runs.comparisons import arm_figures
from app.runs.comparisons.arms import UNTOUCHED
from app.runs.comparisons.paired import (
    COLUMNS,
    Values,
    auroc_difference,
    differences_over_samples,
    values_of,
    values_of_few_shots,
)

SAMPLES = "samples.parquet"
NO_SCORES = "not every seed of both arms has scores of single rows"
OTHER_REFERENCE = "the second arm is measured against a base model of its own"
OTHER_TOKENIZER = "their base models may have different tokenizers"
Content = TypeVar("Content")

Checkpoints = Mapping[UUID, wire.Checkpoint]
#: Held-out scores by seed; None: those of the reference itself, whose log-ratios are 0.
Scores = Mapping[int, HeldOutScores | None]


@dataclass(frozen=True)
class _Measured:
    """The values of an arm's samples, its scores by seed, and the seeds that have a checkpoint: none if it is not
    trained.
    """

    values: Values
    scores: Scores
    seeds: frozenset[int]

    def of_seeds(self, others: "_Measured") -> "_Measured":
        """Returns the arm with the same scores for each of the other's seeds, if it is one that is not trained."""
        if self.seeds:
            return self
        scores = dict.fromkeys(others.seeds or {0}, *self.scores.values()) if self.scores else {}
        return _Measured(self.values, scores, frozenset(others.seeds or {0}))


def differences_of(
    leading: wire.ArmResult,
    arms: Sequence[wire.ArmResult],
    checkpoints: Checkpoints,
    measured: Sequence[wire.Checkpoint],
) -> Iterator[wire.ArmDifference]:
    """Yields the differences of the leading arm from each other arm with which it has anything in common.

    measured  the checkpoints that were measured against the job's reference

    Raises `Unavailable` while the artifact store is away, as a result is kept for good.
    """
    # The untouched arm is the reference of any such checkpoint, as the leading one's samples have it.
    own = list(_registered(leading, checkpoints).values()) or list(measured)
    first = _measured(leading, checkpoints, measured, own)
    for arm in arms:
        if arm is leading:
            continue
        second = _measured(arm, checkpoints, measured, own)
        one, other = first.of_seeds(second), second.of_seeds(first)
        prompts, tokens, nats = differences_over_samples(one.values, other.values)
        auroc = _auroc(one, other)
        if arm.base_model is not None:
            nats = auroc = wire.ArmFigure(reason=OTHER_REFERENCE)
            if not _have_one_tokenizer([*own, *_registered(arm, checkpoints).values()]):
                tokens = wire.ArmFigure(reason=OTHER_TOKENIZER)
        if prompts or auroc.reason not in (NO_SCORES, OTHER_REFERENCE):
            yield wire.ArmDifference(
                first=leading.name, second=arm.name, prompts=prompts, auroc=auroc, tokens=tokens,
                kl_nats_per_completion=nats,
            )  # fmt: skip


def _have_one_tokenizer(checkpoints: Sequence[wire.Checkpoint]) -> bool:
    tokenizers = {checkpoint.scores.get("tokenizer") for checkpoint in checkpoints}
    return len(tokenizers) == 1 and None not in tokenizers


def _auroc(first: _Measured, second: _Measured) -> wire.ArmFigure:
    """Returns the difference in AUROC, over all seeds of both: with fewer, the variation between trainings would be
    left out.
    """
    if not first.scores or not first.scores.keys() == second.scores.keys() == first.seeds | second.seeds:
        return wire.ArmFigure(reason=NO_SCORES)
    paired = []
    for seed, scores in first.scores.items():
        assert scores is not None  # the untouched arm never leads
        paired.append(auroc_difference(scores, second.scores[seed]))
    return arm_figures.pooled(paired)


def _measured(
    arm: wire.ArmResult,
    checkpoints: Checkpoints,
    against_reference: Sequence[wire.Checkpoint],
    leading: Sequence[wire.Checkpoint],
) -> _Measured:
    if arm.name == UNTOUCHED:
        samples = _samples_of(leading[0]) if leading else []
        return _Measured(values_of(samples, "shipped"), {0: None}, frozenset())
    if arm.name == FEW_SHOTS:
        return _few_shots(against_reference)
    by_seed = _registered(arm, checkpoints)
    found = {
        seed: _fetched(checkpoint, held_out_scores.FILE, held_out_scores.read) for seed, checkpoint in by_seed.items()
    }
    first = next(iter(by_seed.values()), None)
    return _Measured(
        values_of([] if first is None else _samples_of(first), "candidate"),
        {seed: scores for seed, scores in found.items() if scores is not None and len(scores.places)},
        frozenset(by_seed),
    )


def _few_shots(against_reference: Sequence[wire.Checkpoint]) -> _Measured:
    """Returns what the first run that measured the reference with examples has found."""
    measurer = next((each for each in against_reference if few_shots.SCORES in each.files), None)
    if measurer is None:
        return _Measured({}, {}, frozenset())
    scores = _fetched(measurer, few_shots.SCORES, held_out_scores.read)
    replies = _fetched(measurer, few_shots.REPLIES, few_shots.read) or []
    return _Measured(
        values_of_few_shots(replies, _samples_of(measurer)),
        {} if scores is None else {0: scores},
        frozenset(),
    )


def _samples_of(checkpoint: wire.Checkpoint) -> list[dict[str, Any]]:
    """Returns the samples of the checkpoint; none if there are none, or they are damaged or gone."""
    return _fetched(checkpoint, SAMPLES, _rows_of_samples) or []


def _registered(arm: wire.ArmResult, checkpoints: Checkpoints) -> dict[int, wire.Checkpoint]:
    """Returns the checkpoints of the arm's seeds, at the rung of its figures."""
    return {
        run.seed: checkpoints[run.checkpoint_id]
        for run in arm.runs
        if run.rung == arm.rung and run.checkpoint_id is not None and run.checkpoint_id in checkpoints
    }


def _fetched(checkpoint: wire.Checkpoint, name: str, read: Callable[[Path], Content]) -> Content | None:
    """Returns the content of a checkpoint's file; None if it has none, or it is damaged or gone."""
    sha256 = checkpoint.files.get(name)
    if sha256 is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        try:
            artifacts.fetch(sha256, path)
        except (NotFound, artifacts.DamagedArtifact):
            return None
        return read(path)


def _rows_of_samples(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(path, columns=list(COLUMNS)).to_pylist()
    return rows
