"""SQL of deliveries and their attempts."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, delete, exists, func, insert, or_, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session

from app.database import is_any_of
from app.webhooks.tables import WebhookAttempt, WebhookDelivery, WebhookEndpoint, WebhookEvent

D = WebhookDelivery


def clock(session: Session) -> datetime:
    """Returns the time of Postgres, by which leases and due times count."""
    return session.scalars(select(func.clock_timestamp())).one()


def _is_due(moment: datetime) -> tuple[ColumnElement[bool], ...]:
    free = or_(D.lease_expires_at.is_(None), D.lease_expires_at < moment)
    return (D.state == "pending", D.next_attempt_at <= moment, free)


def first_due(session: Session, endpoint_id: UUID, moment: datetime) -> WebhookDelivery | None:
    """Returns the delivery that is due for longest, locked; None if there is none or an attempt is under way."""
    under_way = exists().where(D.endpoint_id == endpoint_id, D.state == "pending", D.lease_expires_at >= moment)
    if session.scalars(select(under_way)).one():
        return None
    query = select(D).where(D.endpoint_id == endpoint_id, *_is_due(moment)).order_by(D.next_attempt_at, D.id).limit(1)
    return session.scalars(query.with_for_update(), execution_options={"populate_existing": True}).one_or_none()


def has_due(session: Session, endpoint_id: UUID, moment: datetime) -> bool:
    return session.scalars(select(exists().where(D.endpoint_id == endpoint_id, *_is_due(moment)))).one()


def endpoints_with_due(session: Session, moment: datetime, limit: int) -> Sequence[UUID]:
    """Returns enabled endpoints with a due delivery that may be tried, those with the oldest attempt first."""
    E = WebhookEndpoint
    awake = (E.disabled_at.is_(None), or_(E.rests_until.is_(None), E.rests_until <= moment))
    query = select(E.id).where(*awake, exists().where(D.endpoint_id == E.id, *_is_due(moment)))
    return session.scalars(query.order_by(E.last_attempt_at.asc().nulls_first(), E.id).limit(limit)).all()


def backlogs(session: Session, since: UUID) -> Sequence[tuple[str, int, int, int]]:
    """Returns project, pending deliveries, deliveries after the id `since` that failed, and disabled endpoints."""
    E = WebhookEndpoint
    of_endpoint = select(func.count()).where(D.endpoint_id == E.id)
    pending = of_endpoint.where(D.state == "pending").scalar_subquery()
    failed = of_endpoint.where(D.state == "failed", D.id >= since).scalar_subquery()
    sums = (func.sum(pending), func.sum(failed), func.count(E.disabled_at))
    return session.execute(select(E.project_id, *sums).group_by(E.project_id)).tuples().all()


def payload_of(session: Session, event_id: UUID) -> dict[str, Any]:
    return session.scalars(select(WebhookEvent.payload).where(WebhookEvent.id == event_id)).one()


def locked_attempt(session: Session, delivery_id: UUID, number: int) -> WebhookDelivery | None:
    """Returns the delivery, locked, if this is its newest attempt."""
    query = select(D).where(D.id == delivery_id, D.attempts == number).with_for_update()
    return session.scalars(query, execution_options={"populate_existing": True}).one_or_none()


def insert_attempt(session: Session, values: dict[str, Any]) -> None:
    session.execute(insert(WebhookAttempt).values(**values))


def set_outcome(session: Session, delivery_id: UUID, number: int, values: dict[str, Any]) -> None:
    attempt = (WebhookAttempt.delivery_id == delivery_id, WebhookAttempt.number == number)
    session.execute(update(WebhookAttempt).where(*attempt).values(**values))


def of_id(session: Session, endpoint_id: UUID, delivery_id: UUID) -> WebhookDelivery | None:
    query = select(D).where(D.id == delivery_id, D.endpoint_id == endpoint_id)
    return session.scalars(query).one_or_none()


def newest_first(
    session: Session, endpoint_id: UUID, state: str | None, before: UUID | None, limit: int
) -> Sequence[WebhookDelivery]:
    query = select(D).where(D.endpoint_id == endpoint_id)
    if state is not None:
        query = query.where(D.state == state)
    if before is not None:
        query = query.where(D.id < before)
    return session.scalars(query.order_by(D.id.desc()).limit(limit)).all()


def attempts_of(session: Session, delivery_ids: Iterable[UUID]) -> Sequence[WebhookAttempt]:
    """Returns the attempts of the deliveries, oldest first."""
    query = select(WebhookAttempt).where(is_any_of(WebhookAttempt.delivery_id, delivery_ids))
    return session.scalars(query.order_by(WebhookAttempt.delivery_id, WebhookAttempt.number)).all()


def events_of(session: Session, event_ids: Iterable[UUID]) -> Sequence[WebhookEvent]:
    return session.scalars(select(WebhookEvent).where(is_any_of(WebhookEvent.id, event_ids))).all()


def missed(
    session: Session, project: str, endpoint_id: UUID, types: Collection[str], since: datetime, limit: int
) -> Sequence[UUID]:
    """Returns the events of these types since a time that the endpoint was not sent, or that were given up, oldest
    first.
    """
    known = and_(D.event_id == WebhookEvent.id, D.endpoint_id == endpoint_id)
    query = (
        select(WebhookEvent.id)
        .outerjoin(D, known)
        .where(
            WebhookEvent.project_id == project,
            WebhookEvent.created_at >= since,
            is_any_of(WebhookEvent.type, types),
            or_(D.id.is_(None), D.state == "failed"),
        )
    )
    return session.scalars(query.order_by(WebhookEvent.created_at, WebhookEvent.id).limit(limit)).all()


def replay(session: Session, endpoint_id: UUID, event_ids: Iterable[UUID], moment: datetime) -> None:
    """Makes a delivery of each event due now, in their order: a new one, or the one that there is, from the start."""
    rows = [
        {
            "event_id": event_id,
            "endpoint_id": endpoint_id,
            "state": "pending",
            "began_at": moment,
            "next_attempt_at": moment + number * timedelta(microseconds=1),
        }
        for number, event_id in enumerate(event_ids)
    ]
    statement = upsert(D)
    again: dict[str, Any] = {name: statement.excluded[name] for name in ("state", "began_at", "next_attempt_at")}
    again |= {"reason": None, "finished_at": None}
    if rows:
        session.execute(statement.on_conflict_do_update(index_elements=[D.event_id, D.endpoint_id], set_=again), rows)


def forget_events(session: Session, before: datetime, limit: int) -> None:
    """Deletes up to `limit` of the events from before a time, with their deliveries and attempts."""
    oldest = select(WebhookEvent.id).where(WebhookEvent.created_at < before)
    oldest = oldest.order_by(WebhookEvent.created_at).limit(limit).with_for_update(skip_locked=True)
    session.execute(delete(WebhookEvent).where(WebhookEvent.id.in_(oldest.scalar_subquery())))
