"""What may not be, counted. Pure."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any
from uuid import UUID

ENDED = ("succeeded", "failed", "cancelled")


@dataclass(frozen=True)
class Told:
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
    steps: Sequence[int]  # of its time series, in order
    history: Sequence[Told]


@dataclass(frozen=True)
class Checkpoint:
    id: UUID
    run_id: UUID
    weights_sha256: str
    files: Mapping[str, str]


@dataclass
class Verdict:
    """Each a list of sentences; all empty where nothing is wrong."""

    lost: list[str] = field(default_factory=list)  # accepted, but no such run
    unasked: list[str] = field(default_factory=list)  # a run that no trigger accounts for
    stuck: list[str] = field(default_factory=list)  # not ended, or ended and still held
    ran_twice: list[str] = field(default_factory=list)  # by two workers at once
    registered_twice: list[str] = field(default_factory=list)
    half_registered: list[str] = field(default_factory=list)  # success without checkpoint, or the other way round
    hash_mismatches: list[str] = field(default_factory=list)  # files, and weights beside those of undisturbed runs
    steps_missing: list[str] = field(default_factory=list)  # in the time series of a run that succeeded
    unexplained: list[str] = field(default_factory=list)  # failed, other than after too many lost attempts
    stale_writes_accepted: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)  # a client's call was refused, or a process ended by itself

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
    """What rows and checkpoints say. `calm`: the undisturbed run of each project."""
    found = Verdict()
    asked = {*accepted, *calm.values()}
    found.lost = [f"run {run_id} was accepted and is not there" for run_id in asked - rows.keys()]
    found.unasked = [f"run {run_id} was asked for by nobody" for run_id in rows.keys() - asked]
    registered = Counter(checkpoint.run_id for checkpoint in checkpoints)
    found.registered_twice = [f"run {run_id}: {times} times" for run_id, times in registered.items() if times > 1]
    made = {checkpoint.id: checkpoint for checkpoint in checkpoints}
    for row in rows.values():
        who = f"run {row.id} of {row.project}"
        if row.state not in ENDED or row.owner is not None:
            found.stuck.append(f"{who}: {row.state}, held by {row.owner}; {_last(row)}")
        if (again := _came_back(row.history)) is not None:
            found.ran_twice.append(f"{who}: {again} went on after another worker had it")
        if (row.state == "succeeded") != (row.checkpoint_id in made) or (row.id in registered) != (
            row.checkpoint_id is not None
        ):
            found.half_registered.append(f"{who}: {row.state} with checkpoint {row.checkpoint_id}")
        if row.state == "succeeded" and list(row.steps) != list(range(1, len(row.steps) + 1)):
            found.steps_missing.append(f"{who}: of {row.steps[-1]} steps, {len(row.steps)} are told")
        if row.state == "failed" and (not row.history or row.history[-1].kind != "given_up"):
            found.unexplained.append(f"{who}: {row.reason}")
        if row.checkpoint_id in made and row.project in calm:
            like = rows[calm[row.project]]
            differ = _differences(row, like, made)
            found.hash_mismatches += [f"{who}: another {what} than the undisturbed run" for what in differ]
    return found


def _came_back(history: Sequence[Told]) -> str | None:
    """Returns a worker that wrote again after another one did: each has the run for one stretch of its history, as a
    worker takes another name for each claim.
    """
    workers = {told.by for told in history if told.kind == "claimed"}
    owners = [owner for owner, _ in groupby(told.by for told in history if told.by in workers)]
    return next((owner for owner, times in Counter(owners).items() if times > 1), None)


def _differences(row: Row, like: Row, made: Mapping[UUID, Checkpoint]) -> list[str]:
    assert row.checkpoint_id is not None
    weights = made[row.checkpoint_id].weights_sha256
    differ = [] if row.snapshot_id == like.snapshot_id else ["snapshot"]
    if like.checkpoint_id is None or made[like.checkpoint_id].weights_sha256 != weights:
        differ.append(f"weights ({weights[:12]})")
    return differ


def _last(row: Row) -> str:
    return f"last told by {row.history[-1].by}: {row.history[-1].reason}" if row.history else "without history"


def outcomes(struck: Mapping[str, Sequence[Collection[UUID]]], rows: Mapping[UUID, Row]) -> dict[str, dict[str, Any]]:
    """By fault: how often it struck, how many runs it met, and how these ended."""
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
