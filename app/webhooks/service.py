"""Publishes events of a project: a row in the transaction that makes the event true, and a delivery to each endpoint.

    publish ─▶ webhook_events, webhook_deliveries, outbox ─commit─▶ a worker claims the delivery ─▶ signs ─▶ sends
           ─▶ delivered, or tried again when the tick finds it due, or given up after 24 hours

An event exists if and only if what it tells was committed. It is delivered at least once, with the same `webhook-id` in
every attempt.
"""

from urllib.parse import urlencode
from uuid import UUID

from pydantic import BaseModel
from sqlalchemy.orm import Session
from thumbwheel import wire
from thumbwheel.wire.webhooks import WEBHOOKS

from app import messages, outbox, settings
from app.database import new_id, now
from app.webhooks import store
from app.webhooks.subscriptions import TEST


def publish(session: Session, project: str, kind: str, data: BaseModel) -> None:
    """Publishes an event of this type once the transaction has committed. Without an endpoint for it, nothing is
    stored; one that is disabled can get it later by a replay.
    """
    assert kind in WEBHOOKS, f"there is no model of {kind}"
    subscribed = [each for each in store.subscriptions(session, project) if each.covers(kind)]
    if not subscribed:
        return
    event_id = _insert(session, project, kind, data)
    endpoints = [each.endpoint_id for each in subscribed if each.enabled]
    store.insert_deliveries(session, event_id, endpoints)
    for endpoint_id in endpoints:
        outbox.put(session, messages.DELIVER_WEBHOOKS, endpoint_id=endpoint_id)


def publish_test(session: Session, project: str, endpoint_id: UUID) -> UUID:
    """Publishes a test event to one endpoint, whatever its subscription. Returns the id of the delivery."""
    url = link(project, f"/v1/webhooks/endpoints/{endpoint_id}")
    data = wire.EndpointTestWebhookData(project=project, url=url, endpoint_id=endpoint_id)
    [delivery_id] = store.insert_deliveries(session, _insert(session, project, TEST, data), [endpoint_id])
    outbox.put(session, messages.DELIVER_WEBHOOKS, endpoint_id=endpoint_id)
    return delivery_id


def link(project: str, path: str) -> str:
    """Returns the URL of an operation of the API for this project."""
    chosen = settings.current()
    return f"{(chosen.public_url or chosen.url).rstrip('/')}{path}?{urlencode({'project': project})}"


def _insert(session: Session, project: str, kind: str, data: BaseModel) -> UUID:
    moment = now()
    payload = WEBHOOKS[kind].model_validate({"type": kind, "timestamp": moment, "data": data})
    values = {"id": new_id(), "project_id": project, "type": kind, "created_at": moment}
    return store.insert_event(session, {**values, "payload": payload.model_dump(mode="json")})
