"""SQL of webhook endpoints."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.orm import Session

from app.database import now
from app.webhooks.tables import WebhookDelivery, WebhookEndpoint


def insert_endpoint(session: Session, values: dict[str, Any]) -> WebhookEndpoint:
    return session.scalars(insert(WebhookEndpoint).values(**values).returning(WebhookEndpoint)).one()


def count(session: Session, project: str) -> int:
    return session.scalars(select(func.count()).where(WebhookEndpoint.project_id == project)).one()


def of_id(session: Session, project: str, endpoint_id: UUID) -> WebhookEndpoint | None:
    query = select(WebhookEndpoint).where(WebhookEndpoint.id == endpoint_id, WebhookEndpoint.project_id == project)
    return session.scalars(query).one_or_none()


def locked(session: Session, endpoint_id: UUID) -> WebhookEndpoint | None:
    """Returns the current row of the endpoint, locked until the transaction ends. Events can still be published."""
    query = select(WebhookEndpoint).where(WebhookEndpoint.id == endpoint_id).with_for_update(key_share=True)
    return session.scalars(query, execution_options={"populate_existing": True}).one_or_none()


def newest_first(session: Session, project: str, before: UUID | None, limit: int) -> Sequence[WebhookEndpoint]:
    query = select(WebhookEndpoint).where(WebhookEndpoint.project_id == project)
    if before is not None:
        query = query.where(WebhookEndpoint.id < before)
    return session.scalars(query.order_by(WebhookEndpoint.id.desc()).limit(limit)).all()


def disabled(session: Session, limit: int) -> Sequence[WebhookEndpoint]:
    """Returns disabled endpoints of all projects, the last disabled first."""
    query = select(WebhookEndpoint).where(WebhookEndpoint.disabled_at.is_not(None))
    return session.scalars(query.order_by(WebhookEndpoint.disabled_at.desc()).limit(limit)).all()


def remove(session: Session, endpoint_id: UUID) -> None:
    """Deletes the endpoint with its deliveries."""
    session.execute(delete(WebhookEndpoint).where(WebhookEndpoint.id == endpoint_id))


def give_up_pending(session: Session, endpoint_id: UUID, reason: str) -> None:
    """Gives up every delivery to the endpoint that is pending."""
    pending = update(WebhookDelivery).where(
        WebhookDelivery.endpoint_id == endpoint_id, WebhookDelivery.state == "pending"
    )
    session.execute(pending.values(state="failed", reason=reason, next_attempt_at=None, finished_at=now()))


def forget_previous_secrets(session: Session) -> None:
    """Deletes the replaced secrets whose overlap has ended."""
    ended = update(WebhookEndpoint).where(WebhookEndpoint.previous_secret_until <= now())
    session.execute(ended.values(previous_secret=None, previous_secret_until=None))
