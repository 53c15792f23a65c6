"""The deliveries of webhooks over HTTP: their log, tests and replays."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from thumbwheel import wire

from app.pages import Page
from app.projects.project_of_request import Scoped, scoped
from app.web.problems import problems
from app.web.session import Transaction
from app.webhooks.deliveries import service

router = APIRouter(tags=["webhooks"])
Admin = Annotated[Scoped, Depends(scoped("admin"))]


@router.post(
    "/v1/webhooks/endpoints/{endpoint_id}/test",
    operation_id="test_webhook_endpoint",
    summary="Send a test event",
    status_code=202,
    response_model=wire.WebhookDelivery,
    responses=problems(404, 409),
)
def test_webhook_endpoint(endpoint_id: UUID, session: Transaction, at: Admin) -> wire.WebhookDelivery:
    """Sends a `webhook.test` event to this endpoint alone. The log of deliveries shows the outcome."""
    return service.send_test(session, at.project, endpoint_id)


@router.get(
    "/v1/webhooks/endpoints/{endpoint_id}/deliveries",
    operation_id="list_webhook_deliveries",
    summary="List deliveries to a webhook endpoint",
    response_model=Page[wire.WebhookDelivery],
    responses=problems(404),
)
def list_webhook_deliveries(
    endpoint_id: UUID,
    session: Transaction,
    at: Admin,
    state: Annotated[wire.DeliveryState | None, Query(description="only deliveries in this state")] = None,
    cursor: str | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> Page[wire.WebhookDelivery]:
    """Lists the deliveries of the last 30 days with their attempts, newest first."""
    return service.page(session, at.project, endpoint_id, state=state, cursor=cursor, limit=limit)


@router.post(
    "/v1/webhooks/endpoints/{endpoint_id}/deliveries/{delivery_id}/replay",
    operation_id="replay_webhook_delivery",
    summary="Send the event of a delivery again",
    status_code=202,
    response_model=wire.WebhookDelivery,
    responses=problems(404, 409),
)
def replay_webhook_delivery(
    endpoint_id: UUID, delivery_id: UUID, session: Transaction, at: Admin
) -> wire.WebhookDelivery:
    """Sends the event again, with the same `webhook-id`, whether or not it was delivered."""
    return service.replay(session, at.project, endpoint_id, delivery_id)


@router.post(
    "/v1/webhooks/endpoints/{endpoint_id}/replay",
    operation_id="replay_missed_webhooks",
    summary="Send the events that a webhook endpoint has missed",
    status_code=202,
    response_model=wire.ReplayReceipt,
    responses=problems(404, 409),
)
def replay_missed_webhooks(
    endpoint_id: UUID, missed: wire.MissedReplay, session: Transaction, at: Admin
) -> wire.ReplayReceipt:
    """Sends the events since a time that were given up, or that happened while the endpoint was disabled or did not
    exist, oldest first."""
    return service.replay_missed(session, at.project, endpoint_id, missed.since)
