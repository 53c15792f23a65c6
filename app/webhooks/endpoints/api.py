"""Webhook endpoints over HTTP."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from thumbwheel import wire

from app.pages import Page
from app.projects.project_of_request import Scoped, scoped
from app.web.problems import problems
from app.web.session import Transaction
from app.webhooks.endpoints import service

router = APIRouter(tags=["webhooks"])
#: Reading needs it, too: the URL of a chat may be its password.
Admin = Annotated[Scoped, Depends(scoped("admin"))]


@router.post(
    "/v1/webhooks/endpoints",
    operation_id="create_webhook_endpoint",
    summary="Create a webhook endpoint",
    status_code=201,
    response_model=wire.WebhookEndpointWithSecret,
    responses=problems(404, 409),
)
def create_webhook_endpoint(
    new: wire.NewWebhookEndpoint, session: Transaction, at: Admin
) -> wire.WebhookEndpointWithSecret:
    """Sends the project's events from now on to a URL. Only this answer holds the secret that signs them."""
    return service.create(session, at.project, new, at.by)


@router.get(
    "/v1/webhooks/endpoints",
    operation_id="list_webhook_endpoints",
    summary="List webhook endpoints",
    response_model=Page[wire.WebhookEndpoint],
    responses=problems(404),
)
def list_webhook_endpoints(
    session: Transaction, at: Admin, cursor: str | None = None, limit: Annotated[int, Query(ge=1, le=200)] = 50
) -> Page[wire.WebhookEndpoint]:
    """Lists the endpoints, newest first and without secrets."""
    return service.page(session, at.project, cursor=cursor, limit=limit)


@router.get(
    "/v1/webhooks/endpoints/{endpoint_id}",
    operation_id="get_webhook_endpoint",
    summary="Show a webhook endpoint",
    response_model=wire.WebhookEndpoint,
    responses=problems(404),
)
def get_webhook_endpoint(endpoint_id: UUID, session: Transaction, at: Admin) -> wire.WebhookEndpoint:
    """Returns the endpoint; if it is disabled, since when and why."""
    return service.get(session, at.project, endpoint_id)


@router.patch(
    "/v1/webhooks/endpoints/{endpoint_id}",
    operation_id="change_webhook_endpoint",
    summary="Change, disable or enable a webhook endpoint",
    response_model=wire.WebhookEndpoint,
    responses=problems(404),
)
def change_webhook_endpoint(
    endpoint_id: UUID, change: wire.WebhookEndpointChange, session: Transaction, at: Admin
) -> wire.WebhookEndpoint:
    """Changes the given fields. An endpoint that is disabled gives up its pending deliveries; after it is enabled, new
    events are sent, and a replay sends those that it missed."""
    return service.change(session, at.project, endpoint_id, change, at.by)


@router.delete(
    "/v1/webhooks/endpoints/{endpoint_id}",
    operation_id="delete_webhook_endpoint",
    summary="Delete a webhook endpoint",
    response_model=wire.WebhookEndpoint,
    responses=problems(404),
)
def delete_webhook_endpoint(endpoint_id: UUID, session: Transaction, at: Admin) -> wire.WebhookEndpoint:
    """Deletes the endpoint with its deliveries, and returns it as it was."""
    return service.delete(session, at.project, endpoint_id)


@router.post(
    "/v1/webhooks/endpoints/{endpoint_id}/rotate",
    operation_id="rotate_webhook_secret",
    summary="Replace the secret of a webhook endpoint",
    response_model=wire.WebhookEndpointWithSecret,
    responses=problems(404),
)
def rotate_webhook_secret(
    endpoint_id: UUID, rotation: wire.SecretRotation, session: Transaction, at: Admin
) -> wire.WebhookEndpointWithSecret:
    """Returns a new secret, which is shown only this once. During the overlap, messages also carry a signature by the
    secret before."""
    return service.rotate(session, at.project, endpoint_id, rotation)
