"""An endpoint for a receiver: its events, its log, and the time that passes for it."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from thumbwheel import wire

from app.database import transaction
from app.webhooks import service as webhooks
from app.webhooks.deliveries import service as deliveries
from app.webhooks.endpoints import service as endpoints
from tests.desk import DESK, execute
from tests.webhooks.receiver import Receiver


def listen(receiver: Receiver, *kinds: str, **new: Any) -> UUID:
    """Creates an endpoint for the receiver, which verifies by its secret."""
    body = wire.NewWebhookEndpoint.model_validate({"url": receiver.url, **({"kinds": kinds} if kinds else {}), **new})
    with transaction() as session:
        created = endpoints.create(session, DESK, body, "key test")
    receiver.secrets = [created.secret]
    return created.id


def publish(kind: str = "erasure.requested") -> None:
    data = wire.ErasureWebhookData(project=DESK, url="http://x", erasure_id=UUID(int=1), state="pending")
    with transaction() as session:
        webhooks.publish(session, DESK, kind, data)


def log(endpoint_id: UUID) -> list[wire.WebhookDelivery]:
    """Returns the deliveries to an endpoint, oldest first."""
    with transaction() as session:
        page = deliveries.page(session, DESK, endpoint_id, state=None, cursor=None, limit=50)
    return page.items[::-1]


def shown(endpoint_id: UUID) -> wire.WebhookEndpoint:
    with transaction() as session:
        return endpoints.get(session, DESK, endpoint_id)


def change(endpoint_id: UUID, **values: Any) -> None:
    with transaction() as session:
        endpoints.change(session, DESK, endpoint_id, wire.WebhookEndpointChange(**values), "key test")


def pass_hours(hours: float) -> None:
    """Moves deliveries and rests into the past, as if this time had gone by."""
    execute(
        "UPDATE webhook_deliveries SET began_at = began_at - make_interval(secs => :seconds), "
        "next_attempt_at = next_attempt_at - make_interval(secs => :seconds), "
        "lease_expires_at = lease_expires_at - make_interval(secs => :seconds)",
        seconds=hours * 3600,
    )
    execute("UPDATE webhook_endpoints SET rests_until = NULL")


def fixed(*addresses: str) -> Callable[[str, int], list[str]]:
    """Returns a resolver that knows these addresses for every name."""
    return lambda _host, _port: list(addresses)


def rung() -> list[str]:
    """Returns the endpoints in the outbox, and empties it."""
    rows = execute("DELETE FROM outbox RETURNING id, arguments ->> 'endpoint_id'")
    return [endpoint for _, endpoint in sorted(rows) if endpoint is not None]
