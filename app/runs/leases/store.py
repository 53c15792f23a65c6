"""SQL of leases. Every write of a worker carries its lease: `_held` is in each such statement."""

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
from app.runs.leases.lease import Lease, LeasedRun
from app.runs.states import ACTIVE, WORKING, RunState
from app.runs.tables import NEXT_NUMBER, ComparisonJob, Run


def _held(lease: Lease) -> tuple[ColumnElement[bool], ...]:
    return (Run.id == lease.run_id, Run.lease_owner == lease.owner, Run.lease_epoch == lease.epoch)


def _is_due() -> ColumnElement[bool]:
    return or_(Run.next_attempt_at.is_(None), Run.next_attempt_at <= func.clock_timestamp())


def _after(seconds: float) -> ColumnElement[datetime]:
    return func.clock_timestamp() + text("make_interval(secs => :seconds)").bindparams(seconds=seconds)


def hold_briefly(session: Session) -> None:
    """Limits the locks of this transaction to the duration of a lease, in case its process is frozen."""
    end_when_idle(session, settings.current().lease_seconds)


def claim(session: Session, run_id: UUID, owner: str, lease_seconds: float) -> Run | None:
    """Claims the run by one UPDATE if it waits for a worker, and begins it if it is queued. Returns None if another
    worker holds it, or it has ended, is paused, or waits behind another run or for room on a disk.
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


def reference_of_group(session: Session, row: Run) -> UUID | None:
    """Returns the reference of the comparison that the run is a part of; None if it is not."""
    query = select(ComparisonJob.reference_checkpoint_id).where(ComparisonJob.id == row.group_id)
    return session.scalars(query).one_or_none()


def write(session: Session, lease: Lease, values: dict[str, Any]) -> LeasedRun | None:
    """Writes to the run of `lease`. Returns its standing; None if the lease is lost or the run has ended."""
    hold_briefly(session)
    statement = update(Run).where(*_held(lease), Run.state.in_(ACTIVE)).values(**values)
    row = session.execute(statement.returning(Run.state, Run.paused)).one_or_none()
    return None if row is None else LeasedRun(RunState(row.state), row.paused)


def go_on(session: Session, lease: Lease, step: int) -> None:
    """Records that no full disk holds the run up any more, if it reaches `step` for the first time."""
    is_new_step = func.coalesce(Run.last_metrics["step"].as_integer(), 0) < step
    statement = update(Run).where(*_held(lease), Run.held_up_since.is_not(None), is_new_step)
    session.execute(statement.values(held_up_since=None, held_up_by=None))


def renew(session: Session, lease: Lease, lease_seconds: float) -> LeasedRun | None:
    """Renews the lease for `lease_seconds` from now. Returns and fails as `write`."""
    return write(session, lease, {"lease_expires_at": _after(lease_seconds)})


#: A step that is repeated after a kill replaces its row, which gets a new number. Unchanged rows keep theirs.
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
    """Stores one row per step: the last line of each."""
    by_step = {line["step"]: line for line in lines}
    if by_step:
        session.execute(KEEP_METRICS, {"run_id": run_id, "lines": list(by_step.values())})


def recipes_of_snapshot(session: Session, row: Run) -> list[dict[str, Any]]:
    """Returns the recipes that learn from the snapshot of this run: its own, and those of its comparison's arms."""
    arms = session.scalar(select(ComparisonJob.arms).where(ComparisonJob.id == row.group_id)) or []
    return [row.recipe, *(arm["recipe"] for arm in arms if arm["recipe"] is not None)]


def silent(session: Session) -> Sequence[Run]:
    """Returns the claimed runs whose lease has expired, including paused ones, locked until the transaction ends. Skips
    locked rows.
    """
    statement = (
        select(Run)
        .where(Run.state.in_({*WORKING, RunState.CANCELLING}), Run.lease_expires_at < func.clock_timestamp())
        .with_for_update(skip_locked=True, key_share=True)
    )
    return session.scalars(statement, execution_options={"populate_existing": True}).all()


def unheard(session: Session, seconds: float) -> Sequence[Run]:
    """Returns the runs that still wait for a worker `seconds` after the last notification, or whose next attempt has
    become due since then, locked until the transaction ends. Skips locked rows.
    """
    long_ago = func.clock_timestamp() - text("make_interval(secs => :seconds)").bindparams(seconds=seconds)
    statement = (
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
    return session.scalars(statement, execution_options={"populate_existing": True}).all()
