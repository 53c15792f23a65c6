"""Attempts the writes of a worker that was frozen past its lease, after another worker has claimed its run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from sqlalchemy.orm import Session
from thumbwheel.wire.recipe import Recipe

from app.database import transaction
from app.errors import StaleLease, ThumbwheelError, Unavailable
from app.runs.leases import service as leases
from app.runs.leases.lease import Lease
from app.runs.states import RunState

Write = Callable[[Session, Lease], Any]
WRITES: Mapping[str, Write] = {
    "renew": leases.renew,
    "progress": lambda session, lease: leases.report(session, lease, leases.Report(done=1, total=1)),
    "metrics": lambda session, lease: leases.report(session, lease, leases.Report(metrics=[{"step": 1, "loss": 9.0}])),
    "warnings": lambda session, lease: leases.report(session, lease, leases.Report(warnings=["stale"])),
    "snapshot": lambda session, lease: leases.snapshotted(session, lease, uuid4(), Recipe()),
    "recipe": lambda session, lease: leases.trained(session, lease, Recipe()),
    "state": lambda session, lease: leases.advance(session, lease, RunState.EVALUATING),
    "checkpoint": lambda session, lease: leases.finish(session, lease, weights_sha256="0" * 64, files={}, manifest={}),
    "failure": lambda session, lease: leases.fail(session, lease, "stale"),
    "cancellation": leases.cancelled,
    "release": leases.release,
    "loss": lambda session, lease: leases.lose(session, lease, "stale"),
}


class _NotRefused(Exception):
    """Raised to roll back a write that was accepted."""


@dataclass
class StaleWrites:
    refused: int = 0
    accepted: list[str] = field(default_factory=list)

    def attempt(self, lease: Lease) -> int | None:
        """Attempts every write with an expired lease; returns the number of refusals, or None if Postgres is away."""
        refused = 0
        for name, write in WRITES.items():
            try:
                with transaction() as session:
                    write(session, lease)
                    raise _NotRefused
            except StaleLease:
                refused += 1
            except Unavailable:
                return None
            except (_NotRefused, ThumbwheelError) as error:
                self.accepted.append(f"{name} of run {lease.run_id}: {error!r}")
        self.refused += refused
        return refused
