"""SQL of expired months."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import exists, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, aliased

from app.database import is_any_of
from app.privacy.retention.tables import ExpiredMonth

#: The state of a record that is final, and the first step.
DONE, EVENTS = "done", "events"


class Totals(NamedTuple):
    """The counts of what was deleted of a project in all of its months that are done."""

    months: int
    events: int
    completions: int
    last_finished_at: datetime | None


def insert_once(session: Session, values: dict[str, Any]) -> ExpiredMonth | None:
    """Inserts the month unless its deletion is under way; None if it is."""
    statement = insert(ExpiredMonth).values(**values).on_conflict_do_nothing().returning(ExpiredMonth)
    return session.scalars(statement).one_or_none()


def of_id(session: Session, project: str, record_id: UUID) -> ExpiredMonth | None:
    query = select(ExpiredMonth).where(ExpiredMonth.id == record_id, ExpiredMonth.project_id == project)
    return session.scalars(query).one_or_none()


def locked(session: Session, record_id: UUID) -> ExpiredMonth | None:
    """Locks and returns the record, None if another transaction has the lock."""
    query = select(ExpiredMonth).where(ExpiredMonth.id == record_id).with_for_update(skip_locked=True)
    return session.scalars(query).first()


def locked_at_events(session: Session, projects: Collection[str], month: str) -> Sequence[ExpiredMonth]:
    """Locks and returns the unfinished records of a month at the first step, of these projects."""
    query = (
        select(ExpiredMonth)
        .where(is_any_of(ExpiredMonth.project_id, projects), ExpiredMonth.month == month)
        .where(ExpiredMonth.state != DONE, ExpiredMonth.step == EVENTS)
        .order_by(ExpiredMonth.project_id)
        .with_for_update(skip_locked=True)
    )
    return session.scalars(query).all()


def last_rules(session: Session, project: str, month: str) -> dict[str, Any] | None:
    """Returns the rule by which the month was last deleted, None if it never was."""
    query = select(ExpiredMonth.rules).where(ExpiredMonth.project_id == project, ExpiredMonth.month == month)
    return session.scalars(query.order_by(ExpiredMonth.id.desc()).limit(1)).first()


def is_followed(session: Session, project: str, month: str) -> bool:
    """Returns whether a later month of the project is still to be begun."""
    query = select(ExpiredMonth.id).where(
        ExpiredMonth.project_id == project, ExpiredMonth.month > month, ExpiredMonth.state != DONE,
        ExpiredMonth.step == EVENTS,
    )  # fmt: skip
    return session.scalars(query.limit(1)).first() is not None


def unfinished(session: Session, project: str) -> Sequence[ExpiredMonth]:
    query = select(ExpiredMonth).where(ExpiredMonth.project_id == project, ExpiredMonth.state != DONE)
    return session.scalars(query.order_by(ExpiredMonth.month)).all()


def due(session: Session, moment: datetime) -> Sequence[ExpiredMonth]:
    """Returns unfinished records that are due and not locked. A month waits until the events of older ones are gone."""
    earlier = aliased(ExpiredMonth)
    has_earlier = exists().where(
        earlier.project_id == ExpiredMonth.project_id, earlier.month < ExpiredMonth.month,
        earlier.state != DONE, earlier.step == EVENTS,
    )  # fmt: skip
    query = select(ExpiredMonth).where(ExpiredMonth.state != DONE, ExpiredMonth.next_attempt_at <= moment, ~has_earlier)
    return session.scalars(query.order_by(ExpiredMonth.id).with_for_update(skip_locked=True)).all()


def newest_first(session: Session, project: str, before: UUID | None, limit: int) -> Sequence[ExpiredMonth]:
    query = select(ExpiredMonth).where(ExpiredMonth.project_id == project).order_by(ExpiredMonth.id.desc()).limit(limit)
    if before is not None:
        query = query.where(ExpiredMonth.id < before)
    return session.scalars(query).all()


def progress(session: Session) -> Sequence[tuple[str, int, datetime | None, datetime | None]]:
    """Returns of each project with records: project, unfinished records, when the oldest of them began, and when one
    last ended."""
    left = ExpiredMonth.state != DONE
    columns = (
        ExpiredMonth.project_id,
        func.count().filter(left),
        func.min(ExpiredMonth.began_at).filter(left),
        func.max(ExpiredMonth.finished_at),
    )
    return session.execute(select(*columns).group_by(ExpiredMonth.project_id)).tuples().all()


def totals(session: Session, project: str) -> Totals:
    def sum_of(name: str) -> Any:
        return func.coalesce(func.sum(ExpiredMonth.certificate[name].as_integer()), 0)

    months = func.count(ExpiredMonth.month.distinct())
    query = select(months, sum_of("events"), sum_of("completions"), func.max(ExpiredMonth.finished_at)).where(
        ExpiredMonth.project_id == project, ExpiredMonth.state == DONE
    )
    return Totals(*session.execute(query).one())
