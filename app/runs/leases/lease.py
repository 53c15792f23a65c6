"""The lease: the right of a worker to write to a run. Pure."""

from dataclasses import dataclass
from uuid import UUID

from app.runs.states import RunState


@dataclass(frozen=True)
class Lease:
    """A worker's right to write to a run. It ends with its expiry or the next claim, which raises the epoch."""

    run_id: UUID
    owner: str
    epoch: int


@dataclass(frozen=True)
class LeasedRun:
    """The state of a run as its worker has to know it."""

    state: RunState
    paused: bool
