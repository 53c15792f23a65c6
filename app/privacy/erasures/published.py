"""Publishes erasures as webhooks. The actor is not named."""

from typing import Literal

from sqlalchemy.orm import Session
from thumbwheel import wire

from app.privacy.erasures.tables import Erasure
from app.webhooks import service as webhooks


def publish(
    session: Session, row: Erasure, kind: Literal["erasure.requested", "erasure.completed", "erasure.failed"]
) -> None:
    """Publishes the state of the erasure."""
    url = webhooks.link(row.project_id, f"/v1/erasures/{row.id}")
    data = {"project": row.project_id, "url": url, "erasure_id": row.id, "state": row.state}
    webhooks.publish(session, row.project_id, kind, wire.ErasureWebhookData.model_validate(data))
