"""Counts violations of what must hold after any fault. Pure."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any
from uuid import UUID

ENDED = ("succeeded", "failed", "cancelled")


@dataclass(frozen=True)
class Transition:
    """A row of a run's history."""

    kind: str
    by: str
    to_state: str
    reason: str


@dataclass(frozen=True)
class Row:
    id: UUID
    project: str
    state: str
    reason: str | None
    snapshot_id: UUID | None
    checkpoint_id: UUID | None
    owner: str | None
    epoch: int
    lost: int
    steps: Sequence[int]  # steps of its time series, in order
    history: Sequence[Transition]


@dataclass(frozen=True)
class Checkpoint:
    id: UUID
    run_id: UUID
    weights_sha256: str
    files: Mapping[str, str]


@dataclass
class Verdict:
    """Violations of each kind, as sentences; all lists are empty if nothing is wrong."""

    lost: list[str] = field(default_factory=list)  # accepted runs without a row
    unasked: list[str] = field(default_factory=list)  # rows that nobody requested
    stuck: list[str] = field(default_factory=list)  # runs that have not ended, or are still held by a worker
    ran_twice: list[str] = field(default_factory=list)  # runs of two workers at once
    registered_twice: list[str] = field(default_factory=list)
    half_registered: list[str] = field(default_factory=list)  # successes without checkpoint, or the reverse
    hash_mismatches: list[str] = field(default_factory=list)  # damaged files; weights unlike the undisturbed run's
    steps_missing: list[str] = field(default_factory=list)  # gaps in the time series of runs that succeeded
    unexplained: list[str] = field(default_factory=list)  # failures for another cause than too many lost attempts
    stale_writes_accepted: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)  # refused calls, and processes that ended by themselves

    @property
    def counts(self) -> dict[str, int]:
        return {name: len(found) for name, found in vars(self).items()}

    @property
    def sentences(self) -> list[str]:
        return [f"{name}: {sentence}" for name, found in vars(self).items() for sentence in found]


def judge(
    accepted: Collection[UUID],
    calm: Mapping[str, UUID],
    rows: Mapping[UUID, Row],
    checkpoints: Sequence[Checkpoint],
) -> Verdict:
    """Judges rows and checkpoints. `calm` is the undisturbed run of each project."""
    verdict = Verdict()
    requested = {*accepted, *calm.values()}
    verdict.lost = [f"run {run_id} was accepted and is not there" for run_id in requested - rows.keys()]
    verdict.unasked = [f"run {run_id} was requested by nobody" for run_id in rows.keys() - requested]
    registered = Counter(checkpoint.run_id for checkpoint in checkpoints)
    verdict.registered_twice = [f"run {run_id}: {times} times" for run_id, times in registered.items() if times > 1]
    checkpoint_of = {checkpoint.id: checkpoint for checkpoint in checkpoints}
    for row in rows.values():
        who = f"run {row.id} of {row.project}"
        if row.state not in ENDED or row.owner is not None:
            verdict.stuck.append(f"{who}: {row.state}, held by {row.owner}; {_last(row)}")
        if (again := _came_back(row.history)) is not None:
            verdict.ran_twice.append(f"{who}: {again} went on after another worker had it")
        if (row.state == "succeeded") != (row.checkpoint_id in checkpoint_of) or (row.id in registered) != (
            row.checkpoint_id is not None
        ):
            verdict.half_registered.append(f"{who}: {row.state} with checkpoint {row.checkpoint_id}")
        if row.state == "succeeded" and list(row.steps) != list(range(1, len(row.steps) + 1)):
            verdict.steps_missing.append(f"{who}: of {row.steps[-1]} steps, {len(row.steps)} were reported")
        if row.state == "failed" and (not row.history or row.history[-1].kind != "given_up"):
            verdict.unexplained.append(f"{who}: {row.reason}")
        if row.checkpoint_id in checkpoint_of and row.project in calm:
            like = rows[calm[row.project]]
            differ = _differences(row, like, checkpoint_of)
            verdict.hash_mismatches += [f"{who}: another {what} than the undisturbed run" for what in differ]
    return verdict


def _came_back(history: Sequence[Transition]) -> str | None:
    """Returns a worker that wrote again after another one did: each has the run for one stretch of its history, as a
    worker takes another name for each claim.
    """
    workers = {move.by for move in history if move.kind == "claimed"}
    owners = [owner for owner, _ in groupby(move.by for move in history if move.by in workers)]
    return next((owner for owner, times in Counter(owners).items() if times > 1), None)


def _differences(row: Row, like: Row, checkpoint_of: Mapping[UUID, Checkpoint]) -> list[str]:
    assert row.checkpoint_id is not None
    weights = checkpoint_of[row.checkpoint_id].weights_sha256
    differ = [] if row.snapshot_id == like.snapshot_id else ["snapshot"]
    if like.checkpoint_id is None or checkpoint_of[like.checkpoint_id].weights_sha256 != weights:
        differ.append(f"weights ({weights[:12]})")
    return differ


def _last(row: Row) -> str:
    return f"last moved by {row.history[-1].by}: {row.history[-1].reason}" if row.history else "without history"


def outcomes(struck: Mapping[str, Sequence[Collection[UUID]]], rows: Mapping[UUID, Row]) -> dict[str, dict[str, Any]]:
    """Returns for each fault how often it struck, how many runs it met, and how these ended."""
    table = {}
    for fault, times in struck.items():
        met = {run_id for runs in times for run_id in runs}
        ends = Counter(rows[run_id].state for run_id in met if run_id in rows)
        table[fault] = {
            "times": len(times),
            "runs": len(met),
            **{state: ends[state] for state in ENDED},
            "not ended": sum(ends.values()) - sum(ends[state] for state in ENDED),
        }
    return table
