"""SQL of events."""

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from app.database import now
from app.webhooks.subscriptions import Subscription
from app.webhooks.tables import WebhookDelivery, WebhookEndpoint, WebhookEvent


def subscriptions(session: Session, project: str) -> Sequence[Subscription]:
    enabled = WebhookEndpoint.disabled_at.is_(None)
    query = select(WebhookEndpoint.id, WebhookEndpoint.kinds, enabled).where(WebhookEndpoint.project_id == project)
    return [Subscription(*row) for row in session.execute(query.order_by(WebhookEndpoint.id))]


def insert_event(session: Session, values: dict[str, Any]) -> UUID:
    return session.scalars(insert(WebhookEvent).values(**values).returning(WebhookEvent.id)).one()


def insert_deliveries(session: Session, event_id: UUID, endpoint_ids: Iterable[UUID]) -> list[UUID]:
    """Inserts deliveries that are due now; returns their ids."""
    moment = now()
    common = {"event_id": event_id, "state": "pending", "began_at": moment, "next_attempt_at": moment}
    rows = [{**common, "endpoint_id": endpoint_id} for endpoint_id in endpoint_ids]
    return list(session.scalars(insert(WebhookDelivery).returning(WebhookDelivery.id), rows)) if rows else []
