"""SQL of leases. What a worker writes carries its lease: `_held` is in every such statement."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, bindparam, case, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql import UUID as PG_UUID
from sqlalchemy.orm import Session

from app import settings
from app.database import end_when_idle
from app.runs.leases.lease import Lease, Standing
from app.runs.states import ACTIVE, WORKING, RunState
from app.runs.tables import NEXT_NUMBER, Run


def _held(lease: Lease) -> tuple[ColumnElement[bool], ...]:
    return (Run.id == lease.run_id, Run.lease_owner == lease.owner, Run.lease_epoch == lease.epoch)


def _is_due() -> ColumnElement[bool]:
    return or_(Run.next_attempt_at.is_(None), Run.next_attempt_at <= func.clock_timestamp())


def _after(seconds: float) -> ColumnElement[datetime]:
    return func.clock_timestamp() + text("make_interval(secs => :seconds)").bindparams(seconds=seconds)


def hold_briefly(session: Session) -> None:
    """Lets go of runs that this transaction locks, should its process be frozen, by the time its lease has expired."""
    end_when_idle(session, settings.current().lease_seconds)


def claim(session: Session, run_id: UUID, owner: str, lease_seconds: float) -> Run | None:
    """Takes the run if it waits for a worker, by one UPDATE, which begins a queued one. None where another worker has
    it, it has ended, is paused, waits behind another run or for room on a disk.
    """
    free = or_(Run.lease_expires_at.is_(None), Run.lease_expires_at < func.clock_timestamp())
    waits = (Run.state.in_({RunState.QUEUED, *WORKING}), ~Run.paused, ~Run.waiting, _is_due())
    statement = (
        update(Run)
        .where(Run.id == run_id, *waits, free)
        .values(
            state=case((Run.state == RunState.QUEUED, RunState.SNAPSHOTTING), else_=Run.state),
            lease_owner=owner,
            lease_epoch=Run.lease_epoch + 1,
            lease_expires_at=_after(lease_seconds),
            next_attempt_at=None,
            started_at=func.coalesce(Run.started_at, func.now()),
        )
        .returning(Run)
    )
    return session.scalars(statement, execution_options={"populate_existing": True}).one_or_none()


def write(session: Session, lease: Lease, values: dict[str, Any]) -> Standing | None:
    """Write to the run of `lease`; how it stands, None where the lease is gone or the run has ended."""
    hold_briefly(session)
    statement = update(Run).where(*_held(lease), Run.state.in_(ACTIVE)).values(**values)
    found = session.execute(statement.returning(Run.state, Run.paused)).one_or_none()
    return None if found is None else Standing(RunState(found.state), found.paused)


def go_on(session: Session, lease: Lease, step: int) -> None:
    """Records that no full disk holds the run up any more, where `step` is one that it had not reached before."""
    further = func.coalesce(Run.last_metrics["step"].as_integer(), 0) < step
    statement = update(Run).where(*_held(lease), Run.held_up_since.is_not(None), further)
    session.execute(statement.values(held_up_since=None, held_up_by=None))


def renew(session: Session, lease: Lease, lease_seconds: float) -> Standing | None:
    """Hold the run for `lease_seconds` from now; how it stands, None where the lease is gone or the run has ended."""
    return write(session, lease, {"lease_expires_at": _after(lease_seconds)})


#: A step that was taken again after a kill replaces its row, which gets a new number; what is there is left as it is.
KEEP_METRICS = text(
    f"""
    INSERT INTO run_metrics (run_id, step, values)
    SELECT :run_id, line.step, line.values
    FROM (SELECT (value ->> 'step')::integer AS step, value AS values FROM jsonb_array_elements(:lines)) AS line
    LEFT JOIN run_metrics AS known ON known.run_id = :run_id AND known.step = line.step
    WHERE known.values IS DISTINCT FROM line.values
    ORDER BY line.step
    ON CONFLICT (run_id, step) DO UPDATE SET values = excluded.values, number = {NEXT_NUMBER}
    """  # noqa: S608 - a constant of ours
).bindparams(bindparam("run_id", type_=PG_UUID), bindparam("lines", type_=JSONB))


def keep_metrics(session: Session, run_id: UUID, lines: Sequence[dict[str, Any]]) -> None:
    """One row per step; of several lines of a step the last one counts."""
    by_step = {line["step"]: line for line in lines}
    if by_step:
        session.execute(KEEP_METRICS, {"run_id": run_id, "lines": list(by_step.values())})


def silent(session: Session) -> Sequence[Run]:
    """Claimed runs whose lease has expired, paused ones, too, held until the transaction ends; those that others hold
    are left out.
    """
    asked = (
        select(Run)
        .where(Run.state.in_({*WORKING, RunState.CANCELLING}), Run.lease_expires_at < func.clock_timestamp())
        .with_for_update(skip_locked=True, key_share=True)
    )
    return session.scalars(asked, execution_options={"populate_existing": True}).all()


def unheard(session: Session, seconds: float) -> Sequence[Run]:
    """Runs that wait for a worker though one was asked `seconds` ago, or whose next attempt has become due since then;
    held until the transaction ends.
    """
    long_ago = func.clock_timestamp() - text("make_interval(secs => :seconds)").bindparams(seconds=seconds)
    asked = (
        select(Run)
        .where(
            Run.state.in_({RunState.QUEUED, *WORKING}),
            ~Run.paused,
            ~Run.waiting,
            Run.lease_expires_at.is_(None),
            _is_due(),
            or_(Run.rung_at < long_ago, Run.rung_at < Run.next_attempt_at),
        )
        .with_for_update(skip_locked=True, key_share=True)
    )
    return session.scalars(asked, execution_options={"populate_existing": True}).all()
