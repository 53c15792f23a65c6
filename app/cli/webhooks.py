"""`thumbwheel webhooks …`: endpoints that events are sent to, their secrets, and the log of deliveries."""

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit
from uuid import UUID

import typer
from thumbwheel import wire

from app.cli.connection import AsJson, Project, connected, find_id, short_id
from app.cli.listing import show_all, show_one, when

if TYPE_CHECKING:
    from thumbwheel import Client

webhooks = typer.Typer(
    help="Endpoints that events of a project are sent to.", no_args_is_help=True, rich_markup_mode=None
)

Which = Annotated[str, typer.Argument(metavar="ENDPOINT", help="Its id, or its last characters.")]
Kinds = Annotated[
    list[str] | None,
    typer.Option("--kind", help="A type, or a group such as run.*; may be repeated.  [default: all of them]"),
]
Note = Annotated[str | None, typer.Option("--description", help="What it is for.")]


class MessageFormat(StrEnum):
    STANDARD = "standard"
    SLACK = "slack"


class StateOfDelivery(StrEnum):
    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


@webhooks.command()
def create(
    url: Annotated[str, typer.Argument(help="Where events are sent: https, without password.")],
    kind: Kinds = None,
    shape: Annotated[MessageFormat, typer.Option("--format", help="Format of messages.")] = MessageFormat.STANDARD,
    description: Note = None,
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Create an endpoint. Its secret is shown only this once."""
    given = {"url": url, "format": shape.value, "description": description or ""}
    new = wire.NewWebhookEndpoint.model_validate({**given, "kinds": kind} if kind else given)
    with connected(project) as client:
        created = client.webhooks.create(new)
    show_one(created, {"secret, shown this once": created.secret, **_lines(created)}, as_json=as_json)


@webhooks.command("list")
def list_endpoints(project: Project = None, as_json: AsJson = False) -> None:
    """List endpoints, newest first."""
    columns = {
        "id": lambda item: short_id(item.id),
        "host": lambda item: urlsplit(item.url).netloc,
        "format": lambda item: item.format,
        "kinds": lambda item: ", ".join(item.kinds),
        "last success": lambda item: when(item.last_success_at),
        "enabled": lambda item: "yes" if item.enabled else f"no: {item.disabled_reason}",
        "for": lambda item: item.description,
    }
    with connected(project) as client:
        show_all(client.webhooks.list(), columns, as_json=as_json)


@webhooks.command()
def show(endpoint: Which, project: Project = None, as_json: AsJson = False) -> None:
    """Show an endpoint."""
    with connected(project) as client:
        item = client.webhooks.get(_id(client, endpoint))
    show_one(item, _lines(item), as_json=as_json)


@webhooks.command()
def change(
    endpoint: Which,
    url: Annotated[str | None, typer.Option(help="Where events are sent from now on.")] = None,
    kind: Kinds = None,
    shape: Annotated[MessageFormat | None, typer.Option("--format", help="Format of messages.")] = None,
    description: Note = None,
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Change the given settings of an endpoint."""
    given = {"url": url, "kinds": kind or None, "format": shape and shape.value, "description": description}
    _change(endpoint, {name: value for name, value in given.items() if value is not None}, project, as_json)


@webhooks.command()
def enable(endpoint: Which, project: Project = None, as_json: AsJson = False) -> None:
    """Send new events to a disabled endpoint again."""
    _change(endpoint, {"enabled": True}, project, as_json)


@webhooks.command()
def disable(endpoint: Which, project: Project = None, as_json: AsJson = False) -> None:
    """Send nothing to an endpoint, until it is enabled."""
    _change(endpoint, {"enabled": False}, project, as_json)


@webhooks.command()
def delete(endpoint: Which, project: Project = None, as_json: AsJson = False) -> None:
    """Delete an endpoint with its log of deliveries."""
    with connected(project) as client:
        item = client.webhooks.delete(_id(client, endpoint))
    show_one(item, {"deleted": str(item.id), "url": item.url}, as_json=as_json)


@webhooks.command()
def rotate(
    endpoint: Which,
    overlap_hours: Annotated[
        float, typer.Option(min=0, max=168, help="Hours for which the old secret stays valid; 0 if it has leaked.")
    ] = 24,
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Replace the secret of an endpoint. The new one is shown only this once."""
    with connected(project) as client:
        item = client.webhooks.rotate(_id(client, endpoint), overlap_hours)
    show_one(item, {"secret, shown this once": item.secret, **_lines(item)}, as_json=as_json)


@webhooks.command("test")
def send_test(endpoint: Which, project: Project = None, as_json: AsJson = False) -> None:
    """Send a test event to an endpoint."""
    with connected(project) as client:
        item = client.webhooks.test(_id(client, endpoint))
    _show_delivery(item, as_json)


@webhooks.command()
def deliveries(
    endpoint: Which,
    state: Annotated[StateOfDelivery | None, typer.Option(help="List only deliveries in this state.")] = None,
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """List the deliveries of the last 30 days, newest first."""
    columns = {
        "id": lambda item: short_id(item.id),
        "type": lambda item: item.type,
        "created": lambda item: when(item.created_at),
        "state": lambda item: item.state,
        "attempts": lambda item: str(len(item.attempts)),
        "last": _last,
        "next": lambda item: when(item.next_attempt_at),
        "why": lambda item: item.reason or "",
    }
    with connected(project) as client:
        found = client.webhooks.deliveries(_id(client, endpoint), state.value if state else None)
        show_all(found, columns, as_json=as_json)


@webhooks.command()
def replay(
    endpoint: Which,
    delivery: Annotated[
        str | None, typer.Argument(help="Id of a delivery, or its last characters; without it: all that was missed.")
    ] = None,
    since: Annotated[datetime | None, typer.Option(help="Events from then on, in UTC.  [default: a day ago]")] = None,
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Send one event again, or all events that the endpoint has missed."""
    with connected(project) as client:
        endpoint_id = _id(client, endpoint)
        if delivery is not None:
            delivery_id = find_id(delivery, client.webhooks.deliveries(endpoint_id), "delivery")
            _show_delivery(client.webhooks.replay(endpoint_id, delivery_id), as_json)
            return
        begin = since.replace(tzinfo=UTC) if since else datetime.now(UTC) - timedelta(days=1)
        receipt = client.webhooks.replay_missed(endpoint_id, begin)
    lines = {"since": when(begin), "sent again": f"{receipt.replayed:,} events"}
    show_one(receipt, lines if receipt.complete else {**lines, "more": "yes: run it again"}, as_json=as_json)


def _id(client: "Client", endpoint: str) -> UUID:
    return find_id(endpoint, client.webhooks.list(), "webhook endpoint")


def _change(endpoint: str, values: dict[str, object], project: str | None, as_json: bool) -> None:
    change = wire.WebhookEndpointChange.model_validate(values)
    with connected(project) as client:
        item = client.webhooks.change(_id(client, endpoint), change)
    show_one(item, _lines(item), as_json=as_json)


def _show_delivery(item: wire.WebhookDelivery, as_json: bool) -> None:
    lines = {"delivery": str(item.id), "type": item.type, "webhook-id": str(item.webhook_id), "state": item.state}
    show_one(item, lines, as_json=as_json)


def _last(item: wire.WebhookDelivery) -> str:
    if not item.attempts:
        return "–"
    attempt = item.attempts[-1]
    return attempt.trouble or (f"HTTP {attempt.status}" if attempt.status else "under way")


def _lines(item: wire.WebhookEndpoint) -> dict[str, str]:
    return {
        "id": str(item.id),
        "url": item.url,
        "format": item.format,
        "kinds": ", ".join(item.kinds),
        "for": item.description or "–",
        "enabled": "yes" if item.enabled else f"no, since {when(item.disabled_at)}: {item.disabled_reason}",
        "last attempt": when(item.last_attempt_at),
        "last success": when(item.last_success_at),
        "old secret until": when(item.previous_secret_until),
    }
