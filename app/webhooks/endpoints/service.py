"""Creates, changes, tests and disables webhook endpoints, and rotates their secrets."""

import logging
from datetime import timedelta
from uuid import UUID

from sqlalchemy.orm import Session
from thumbwheel import wire

from app import settings
from app.access.operator_log import service as operator_log
from app.database import now
from app.errors import Conflict, Fault, Invalid, NotFound, brief
from app.pages import Page, key_of_cursor, page_of
from app.projects import service as projects
from app.webhooks import service as webhooks
from app.webhooks.addresses import target_of
from app.webhooks.endpoints import store
from app.webhooks.signing import new_secret
from app.webhooks.tables import WebhookEndpoint

log = logging.getLogger(__name__)

MOST_ENDPOINTS = 20
#: Width of the column with the reason.
MOST_REASON = 500


def create(session: Session, project: str, new: wire.NewWebhookEndpoint, by: str) -> wire.WebhookEndpointWithSecret:
    """Creates an endpoint, and returns it with its secret, which is shown only now.

    Raises `Invalid` for a URL that nothing may be sent to, and `Conflict` if the project has 20 endpoints.
    """
    _require_allowed(new.url)
    projects.lock(session, project)
    if store.count(session, project) >= MOST_ENDPOINTS:
        raise Conflict(
            f"Project {project} has {MOST_ENDPOINTS} webhook endpoints, the most there may be: delete one first.",
            code="too_many_endpoints",
        )
    values = {**new.model_dump(), "project_id": project, "secret": new_secret(), "created_by": by}
    row = store.insert_endpoint(session, values)
    operator_log.note(session, endpoint_id=row.id)
    return _with_secret(row)


def get(session: Session, project: str, endpoint_id: UUID) -> wire.WebhookEndpoint:
    """Returns the endpoint without its secret. Raises `NotFound`."""
    return _shown(require(session, project, endpoint_id))


def page(session: Session, project: str, *, cursor: str | None, limit: int) -> Page[wire.WebhookEndpoint]:
    """Returns a page of the project's endpoints, newest first."""
    rows = store.newest_first(session, project, key_of_cursor(cursor, UUID), limit + 1)
    return page_of(rows, limit, lambda row: str(row.id), _shown)


def disabled(session: Session, limit: int) -> list[wire.WebhookEndpoint]:
    """Returns disabled endpoints of all projects, the last disabled first."""
    return [_shown(row) for row in store.disabled(session, limit)]


def change(
    session: Session, project: str, endpoint_id: UUID, change: wire.WebhookEndpointChange, by: str
) -> wire.WebhookEndpoint:
    """Changes the given fields. Events from now on go to the changed endpoint, and so do pending deliveries.

    Raises `NotFound`, and `Invalid` for a URL that nothing may be sent to.
    """
    row = require_locked(session, project, endpoint_id)
    if change.url is not None:
        _require_allowed(change.url)
    for name, value in change.model_dump(exclude_none=True, exclude={"enabled"}).items():
        setattr(row, name, value)
    wake(row)
    if change.enabled is True:
        row.disabled_at = row.disabled_reason = None
    elif change.enabled is False and row.disabled_at is None:
        disable(session, row, f"disabled by {by}")
    session.flush()
    return _shown(row)


def delete(session: Session, project: str, endpoint_id: UUID) -> wire.WebhookEndpoint:
    """Deletes the endpoint with its log, and returns it as it was. Raises `NotFound`."""
    shown = _shown(require_locked(session, project, endpoint_id))
    store.remove(session, endpoint_id)
    return shown


def rotate(
    session: Session, project: str, endpoint_id: UUID, rotation: wire.SecretRotation
) -> wire.WebhookEndpointWithSecret:
    """Replaces the secret. During the overlap, messages carry a signature by each of both secrets; a secret from before
    an earlier rotation ends at once. Raises `NotFound`.
    """
    row = require_locked(session, project, endpoint_id)
    overlap = timedelta(hours=rotation.overlap_hours)
    row.previous_secret = row.secret if overlap else None
    row.previous_secret_until = now() + overlap if overlap else None
    row.secret = new_secret()
    session.flush()
    return _with_secret(row)


def require_enabled(session: Session, project: str, endpoint_id: UUID) -> WebhookEndpoint:
    """Returns the endpoint, locked, for messages that are to be sent at once. Raises `NotFound`, and `Conflict` if it
    is disabled.
    """
    row = require_locked(session, project, endpoint_id)
    if row.disabled_at is not None:
        raise Conflict(
            f"Endpoint {endpoint_id} is disabled ({row.disabled_reason}): enable it first, by PATCH with "
            '{"enabled": true}.',
            code="endpoint_disabled",
        )
    wake(row)
    return row


def send_test(session: Session, project: str, endpoint_id: UUID) -> UUID:
    """Sends a `webhook.test` event to the endpoint alone, and returns the id of the delivery. Raises the errors of
    `require_enabled`.
    """
    require_enabled(session, project, endpoint_id)
    return webhooks.publish_test(session, project, endpoint_id)


def locked(session: Session, endpoint_id: UUID) -> WebhookEndpoint | None:
    """Returns the current row of the endpoint, locked until the transaction ends; None if it was deleted."""
    return store.locked(session, endpoint_id)


def require(session: Session, project: str, endpoint_id: UUID) -> WebhookEndpoint:
    """Returns the row of the endpoint. Raises `NotFound`."""
    row = store.of_id(session, project, endpoint_id)
    if row is None:
        raise NotFound(f"Project {project} has no webhook endpoint {endpoint_id}.", code="endpoint_not_found")
    return row


def require_locked(session: Session, project: str, endpoint_id: UUID) -> WebhookEndpoint:
    """Returns the current row of the endpoint, locked until the transaction ends. Raises `NotFound`."""
    require(session, project, endpoint_id)
    row = store.locked(session, endpoint_id)
    return require(session, project, endpoint_id) if row is None else row


def disable(session: Session, row: WebhookEndpoint, reason: str) -> None:
    """Disables the endpoint, which the caller has locked, and gives up its pending deliveries: a replay sends them."""
    row.disabled_at, row.disabled_reason = now(), brief(reason, MOST_REASON)
    give_up_pending(session, row)
    log.warning("webhook endpoint %s of project %s is disabled: %s", row.id, row.project_id, reason)


def give_up_pending(session: Session, row: WebhookEndpoint) -> None:
    """Gives up the pending deliveries of a disabled endpoint."""
    store.give_up_pending(session, row.id, brief(f"the endpoint is disabled: {row.disabled_reason}", MOST_REASON))


def wake(row: WebhookEndpoint) -> None:
    """Ends the rest of an endpoint that failed: the next attempt may come at once."""
    row.failures, row.rests_until = 0, None


def forget_previous_secrets(session: Session) -> None:
    """Deletes the replaced secrets whose overlap has ended."""
    store.forget_previous_secrets(session)


def _require_allowed(url: str) -> None:
    try:
        target_of(url, allow_private=settings.current().webhooks_allow_private)
    except ValueError as error:
        raise Invalid(f"url: {error}.", code="invalid_webhook_url", faults=[Fault("/url", str(error))]) from None


def _shown(row: WebhookEndpoint) -> wire.WebhookEndpoint:
    return wire.WebhookEndpoint.model_validate(_values(row))


def _with_secret(row: WebhookEndpoint) -> wire.WebhookEndpointWithSecret:
    return wire.WebhookEndpointWithSecret.model_validate({**_values(row), "secret": row.secret})


def _values(row: WebhookEndpoint) -> dict[str, object]:
    derived = {"project": row.project_id, "enabled": row.disabled_at is None}
    return {name: getattr(row, name) for name in wire.WebhookEndpoint.model_fields if name not in derived} | derived
