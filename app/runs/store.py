"""SQL of runs. What a worker writes carries its lease: `_held` is in every such statement."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, func, insert, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session

from app.runs.lease import Lease
from app.runs.states import ACTIVE, WORKING, RunState
from app.runs.tables import Run, RunMetric, RunTransition


def _held(lease: Lease) -> tuple[ColumnElement[bool], ...]:
    return (Run.id == lease.run_id, Run.lease_owner == lease.owner, Run.lease_epoch == lease.epoch)


def _after(seconds: float) -> ColumnElement[datetime]:
    return func.clock_timestamp() + text("make_interval(secs => :seconds)").bindparams(seconds=seconds)


def insert_run(session: Session, values: dict[str, Any]) -> Run:
    return session.scalars(insert(Run).values(**values).returning(Run)).one()


def of_id(session: Session, project: str, run_id: UUID) -> Run | None:
    return session.scalars(select(Run).where(Run.id == run_id, Run.project_id == project)).one_or_none()


def locked(session: Session, run_id: UUID) -> Run | None:
    """The run as it is now, held until the transaction ends."""
    asked = (
        select(Run).where(Run.id == run_id).with_for_update(key_share=True).execution_options(populate_existing=True)
    )
    return session.scalars(asked).one_or_none()


def active_of(session: Session, project: str) -> UUID | None:
    return session.scalars(select(Run.id).where(Run.project_id == project, Run.state.in_(ACTIVE))).one_or_none()


def newest_of(session: Session, project: str) -> Run | None:
    asked = select(Run).where(Run.project_id == project).order_by(Run.created_at.desc(), Run.id.desc()).limit(1)
    return session.scalars(asked).one_or_none()


def newest_first(session: Session, project: str, before: UUID | None, limit: int) -> Sequence[Run]:
    asked = select(Run).where(Run.project_id == project).order_by(Run.id.desc()).limit(limit)
    if before is not None:
        asked = asked.where(Run.id < before)
    return session.scalars(asked).all()


def transitions_of(session: Session, run_ids: Iterable[UUID]) -> Sequence[RunTransition]:
    """Oldest first."""
    asked = select(RunTransition).where(RunTransition.run_id.in_(list(run_ids))).order_by(RunTransition.id)
    return session.scalars(asked).all()


def add_transition(
    session: Session, run_id: UUID, before: RunState | None, after: RunState, by: str, reason: str
) -> None:
    values = {"run_id": run_id, "from_state": before, "to_state": after, "by": by, "reason": reason}
    session.execute(insert(RunTransition).values(**values))


def claim(session: Session, run_id: UUID, owner: str, lease_seconds: float) -> Run | None:
    """Take the run if it waits for a worker, by one UPDATE; None where somebody has it or it has ended."""
    free = or_(Run.lease_expires_at.is_(None), Run.lease_expires_at < func.clock_timestamp())
    statement = (
        update(Run)
        .where(Run.id == run_id, Run.state.in_({RunState.QUEUED, *WORKING}), free)
        .values(
            lease_owner=owner,
            lease_epoch=Run.lease_epoch + 1,
            lease_expires_at=_after(lease_seconds),
            started_at=func.coalesce(Run.started_at, func.now()),
        )
        .returning(Run)
    )
    return session.scalars(statement, execution_options={"populate_existing": True}).one_or_none()


def move(session: Session, run_id: UUID, before: RunState, after: RunState, values: dict[str, Any]) -> bool:
    """Whether the run was in state `before`, and is in `after` now."""
    statement = update(Run).where(Run.id == run_id, Run.state == before).values(state=after, **values)
    return session.execute(statement.returning(Run.id)).one_or_none() is not None


def write(session: Session, lease: Lease, values: dict[str, Any]) -> RunState | None:
    """Write to the run of `lease`; its state, None where the lease is gone or the run has ended."""
    statement = update(Run).where(*_held(lease), Run.state.in_(ACTIVE)).values(**values).returning(Run.state)
    found = session.execute(statement).scalar_one_or_none()
    return None if found is None else RunState(found)


def renew(session: Session, lease: Lease, lease_seconds: float) -> RunState | None:
    """Hold the run for `lease_seconds` from now; its state, None where the lease is gone or the run has ended."""
    return write(session, lease, {"lease_expires_at": _after(lease_seconds)})


def keep_metrics(session: Session, run_id: UUID, lines: Sequence[dict[str, Any]]) -> None:
    """One row per step; a step that was taken again after a kill replaces its row."""
    by_step = {line["step"]: {"run_id": run_id, "step": line["step"], "values": line} for line in lines}
    statement = upsert(RunMetric).values(list(by_step.values()))
    session.execute(
        statement.on_conflict_do_update(
            index_elements=[RunMetric.run_id, RunMetric.step], set_={"values": statement.excluded["values"]}
        )
    )


def metrics_of(session: Session, run_id: UUID, limit: int) -> list[dict[str, Any]]:
    """At most about `limit` steps, evenly thinned, the first and the last among them."""
    count, last = session.execute(
        select(func.count(), func.max(RunMetric.step)).where(RunMetric.run_id == run_id)
    ).one()
    stride = max(1, -(-count // limit))
    kept = or_((RunMetric.step - 1) % stride == 0, RunMetric.step == last)
    asked = select(RunMetric.values).where(RunMetric.run_id == run_id, kept).order_by(RunMetric.step)
    return list(session.scalars(asked))


def silent(session: Session) -> Sequence[Run]:
    """Claimed runs whose lease has expired, held until the transaction ends; those that others hold are left out."""
    asked = (
        select(Run)
        .where(Run.state.in_({*WORKING, RunState.CANCELLING}), Run.lease_expires_at < func.clock_timestamp())
        .with_for_update(skip_locked=True, key_share=True)
    )
    return session.scalars(asked, execution_options={"populate_existing": True}).all()


def unheard(session: Session, seconds: float) -> Sequence[Run]:
    """Runs that wait for a worker though one was asked `seconds` ago, held until the transaction ends."""
    long_ago = func.clock_timestamp() - text("make_interval(secs => :seconds)").bindparams(seconds=seconds)
    asked = (
        select(Run)
        .where(Run.state.in_({RunState.QUEUED, *WORKING}), Run.lease_expires_at.is_(None), Run.rung_at < long_ago)
        .with_for_update(skip_locked=True, key_share=True)
    )
    return session.scalars(asked, execution_options={"populate_existing": True}).all()
