"""The right to write to a run. Pure."""

from dataclasses import dataclass
from uuid import UUID

from app.runs.states import RunState


@dataclass(frozen=True)
class Lease:
    """It ends with the next claim, which raises the epoch, and when nobody renews it."""

    run_id: UUID
    owner: str
    epoch: int


@dataclass(frozen=True)
class Standing:
    """What the worker of a run has to know of it."""

    state: RunState
    paused: bool
