"""Delivers events to endpoints: claims, sends and concludes attempts, replays deliveries, and shows their log.

One attempt of an endpoint is under way at a time. A lease in the row of the delivery keeps other workers away while it
is; the attempt's number fences its outcome. The deadline of an attempt ends before its lease, also where the process is
stopped in between, so no two attempts of a delivery are sent at the same time.
"""

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy.orm import Session
from thumbwheel import wire

from app import messages, outbox, settings
from app.database import end_when_idle, now, transaction
from app.errors import NotFound, brief
from app.pages import Page, key_of_cursor, page_of
from app.webhooks import sending
from app.webhooks.addresses import target_of
from app.webhooks.bodies import body
from app.webhooks.deliveries import store
from app.webhooks.endpoints import service as endpoints
from app.webhooks.schedule import GIVEN_UP_AFTER, next_attempt, rest
from app.webhooks.sending import AttemptOutcome
from app.webhooks.signing import headers
from app.webhooks.subscriptions import types_of
from app.webhooks.tables import WebhookDelivery, WebhookEndpoint

#: Longer than an attempt may take, with the transactions before and after it.
LEASE = timedelta(seconds=2 * sending.WHOLE_SECONDS)
KEPT = timedelta(days=30)
#: Failed deliveries count as such for this time since their event: they were tried for the first half of it.
FAILED_WITHIN = 2 * GIVEN_UP_AFTER
#: Events of one replay, events that one round of the loop deletes, and endpoints that it rings.
MOST_REPLAYED, DELETED_AT_ONCE, RUNG_AT_ONCE = 1000, 500, 100
GONE = 410


# -- attempts ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ClaimedAttempt:
    """An attempt that this worker may send, with everything that the request needs."""

    endpoint_id: UUID
    delivery_id: UUID
    number: int
    webhook_id: UUID
    at: datetime
    url: str
    format: str
    payload: dict[str, Any]
    secrets: tuple[str, ...]


def deliver_next(endpoint_id: UUID, *, resolve: sending.Resolve | None = None) -> bool:
    """Sends the endpoint's longest due delivery, and returns whether there was one. If more are due, their message is
    sent with the outcome.

    resolve  resolves host names; None: the resolver of this machine
    """
    deadline = time.monotonic() + sending.WHOLE_SECONDS
    with transaction() as session:
        claimed = claim(session, endpoint_id)
    if claimed is None:
        return False
    outcome = send(claimed, deadline, resolve)
    with transaction() as session:
        conclude(session, claimed, outcome)
    return True


def claim(session: Session, endpoint_id: UUID) -> ClaimedAttempt | None:
    """Claims the endpoint's longest due delivery for an attempt. Returns None if there is none, another attempt is
    under way, or the endpoint is disabled, rests, or was deleted.
    """
    end_when_idle(session, LEASE.total_seconds())
    endpoint = endpoints.locked(session, endpoint_id)
    if endpoint is None:
        return None
    if endpoint.disabled_at is not None:
        endpoints.give_up_pending(session, endpoint)  # those of a transaction that had seen it enabled
        return None
    moment = store.clock(session)
    if endpoint.rests_until is not None and endpoint.rests_until > moment:
        return None
    row = store.first_due(session, endpoint_id, moment)
    if row is None:
        return None
    row.attempts += 1
    row.lease_expires_at = moment + LEASE
    endpoint.last_attempt_at = moment
    store.insert_attempt(session, {"delivery_id": row.id, "number": row.attempts, "at": moment})
    payload = store.payload_of(session, row.event_id)
    return ClaimedAttempt(
        endpoint_id, row.id, row.attempts, row.event_id, moment, endpoint.url, endpoint.format, payload,
        _secrets_of(endpoint, moment),
    )  # fmt: skip


def send(claimed: ClaimedAttempt, deadline: float, resolve: sending.Resolve | None = None) -> AttemptOutcome:
    """Sends the request of an attempt. Its outcome quotes no secret."""
    allow_private = settings.current().webhooks_allow_private
    try:
        target = target_of(claimed.url, allow_private=allow_private)
    except ValueError as error:
        return AttemptOutcome(0.0, trouble=f"the URL {error}")
    content = body(claimed.payload, claimed.format)
    signed = headers(str(claimed.webhook_id), claimed.at, content, claimed.secrets)
    outcome = sending.post(target, signed, content, deadline=deadline, allow_private=allow_private, resolve=resolve)
    return outcome.without(claimed.secrets)


def conclude(session: Session, claimed: ClaimedAttempt, outcome: AttemptOutcome) -> None:
    """Writes the outcome of an attempt, and decides about the next one. An outcome that comes after the lease was lost
    only enters the log.
    """
    end_when_idle(session, LEASE.total_seconds())
    endpoint = endpoints.locked(session, claimed.endpoint_id)
    if endpoint is None:
        return
    values = {name: getattr(outcome, name) for name in ("seconds", "status", "trouble", "answer")}
    store.set_outcome(session, claimed.delivery_id, claimed.number, values)
    row = store.locked_attempt(session, claimed.delivery_id, claimed.number)
    if row is None:
        return
    row.lease_expires_at = None
    moment = store.clock(session)
    if outcome.succeeded:
        row.state, row.reason, row.next_attempt_at, row.finished_at = "delivered", None, None, moment
        endpoint.last_success_at = moment
        endpoints.wake(endpoint)
    elif row.state == "pending":
        _try_again(session, endpoint, row, outcome, moment)
    session.flush()
    if endpoint.disabled_at is None and endpoint.rests_until is None and store.has_due(session, endpoint.id, moment):
        outbox.put(session, messages.DELIVER_WEBHOOKS, endpoint_id=endpoint.id)


def _try_again(
    session: Session, endpoint: WebhookEndpoint, row: WebhookDelivery, outcome: AttemptOutcome, moment: datetime
) -> None:
    """Decides what follows a failed attempt: another one, the end of the delivery, or that of the endpoint."""
    endpoint.failures += 1
    endpoint.rests_until = moment + rest(endpoint.failures, outcome.retry_after)
    row.next_attempt_at = next_attempt(row.began_at, moment, random.random())
    if outcome.status == GONE:
        _give_up(row, "the receiver answered 410 Gone", moment)
        endpoints.disable(session, endpoint, "the receiver answered 410 Gone: it wants no more events")
    elif row.next_attempt_at is None:
        hours = GIVEN_UP_AFTER.total_seconds() / 3600
        _give_up(row, f"given up after {hours:g} hours, the last attempt: {outcome.trouble}", moment)
        if endpoint.last_success_at is None or endpoint.last_success_at < row.began_at:
            reason = f"no event got through for {hours:g} hours, the last attempt: {outcome.trouble}"
            endpoints.disable(session, endpoint, reason)


def _give_up(row: WebhookDelivery, reason: str, moment: datetime) -> None:
    row.state, row.reason = "failed", brief(reason, endpoints.MOST_REASON)
    row.next_attempt_at, row.finished_at = None, moment


def _secrets_of(endpoint: WebhookEndpoint, moment: datetime) -> tuple[str, ...]:
    previous, until = endpoint.previous_secret, endpoint.previous_secret_until
    overlaps = previous is not None and until is not None and until > moment
    return (endpoint.secret, previous) if overlaps and previous is not None else (endpoint.secret,)


# -- in the loop ------------------------------------------------------------------------------------------------------


def ring_due(session: Session) -> None:
    """Sends messages for endpoints with due deliveries: retries, and attempts whose worker was lost."""
    for endpoint_id in store.endpoints_with_due(session, store.clock(session), RUNG_AT_ONCE):
        outbox.put(session, messages.DELIVER_WEBHOOKS, endpoint_id=endpoint_id)


def forget(session: Session) -> None:
    """Deletes some of the events that are older than 30 days, with their deliveries, and secrets that have ended."""
    store.forget_events(session, store.clock(session) - KEPT, DELETED_AT_ONCE)
    endpoints.forget_previous_secrets(session)


class Backlog(NamedTuple):
    """The deliveries of a project: those that wait, those of the last `FAILED_WITHIN` that failed, and the disabled
    endpoints.
    """

    project: str
    waiting: int
    failed: int
    disabled_endpoints: int


def backlogs(session: Session) -> list[Backlog]:
    """Returns the deliveries of each project that has an endpoint."""
    since = UUID(int=int((now() - FAILED_WITHIN).timestamp() * 1000) << 80)  # a UUIDv7 begins with milliseconds
    return [Backlog(*row) for row in store.backlogs(session, since)]


# -- the log, and replays ---------------------------------------------------------------------------------------------


def page(
    session: Session,
    project: str,
    endpoint_id: UUID,
    *,
    state: wire.DeliveryState | None,
    cursor: str | None,
    limit: int,
) -> Page[wire.WebhookDelivery]:
    """Returns a page of the deliveries to an endpoint, newest first. Raises `NotFound`."""
    endpoints.require(session, project, endpoint_id)
    rows = store.newest_first(session, endpoint_id, state, key_of_cursor(cursor, UUID), limit + 1)
    shown = {delivery.id: delivery for delivery in _shown(session, rows)}
    return page_of(rows, limit, lambda row: str(row.id), lambda row: shown[row.id])


def send_test(session: Session, project: str, endpoint_id: UUID) -> wire.WebhookDelivery:
    """Sends a `webhook.test` event to the endpoint. Raises `NotFound`, and `Conflict` if it is disabled."""
    delivery_id = endpoints.send_test(session, project, endpoint_id)
    return _shown(session, [_require(session, endpoint_id, delivery_id)])[0]


def replay(session: Session, project: str, endpoint_id: UUID, delivery_id: UUID) -> wire.WebhookDelivery:
    """Sends the event of a delivery again, with the same `webhook-id`, whether or not it was delivered.

    Raises `NotFound`, and `Conflict` if the endpoint is disabled.
    """
    endpoints.require_enabled(session, project, endpoint_id)
    row = _require(session, endpoint_id, delivery_id)
    _send_again(session, endpoint_id, [row.event_id])
    session.refresh(row)
    return _shown(session, [row])[0]


def replay_missed(session: Session, project: str, endpoint_id: UUID, since: datetime) -> wire.ReplayReceipt:
    """Sends the events since a time that the endpoint subscribes to and has missed: they were given up, or happened
    while it was disabled or did not exist. Raises the errors of `replay`.
    """
    endpoint = endpoints.require_enabled(session, project, endpoint_id)
    types = types_of(endpoint.kinds)
    missed = store.missed(session, project, endpoint_id, types, since, MOST_REPLAYED + 1)
    _send_again(session, endpoint_id, missed[:MOST_REPLAYED])
    return wire.ReplayReceipt(replayed=len(missed[:MOST_REPLAYED]), complete=len(missed) <= MOST_REPLAYED)


def _send_again(session: Session, endpoint_id: UUID, event_ids: Sequence[UUID]) -> None:
    store.replay(session, endpoint_id, event_ids, store.clock(session))
    if event_ids:
        outbox.put(session, messages.DELIVER_WEBHOOKS, endpoint_id=endpoint_id)


def _require(session: Session, endpoint_id: UUID, delivery_id: UUID) -> WebhookDelivery:
    row = store.of_id(session, endpoint_id, delivery_id)
    if row is None:
        raise NotFound(f"Webhook endpoint {endpoint_id} has no delivery {delivery_id}.", code="delivery_not_found")
    return row


def _shown(session: Session, rows: Sequence[WebhookDelivery]) -> list[wire.WebhookDelivery]:
    events = {event.id: event for event in store.events_of(session, {row.event_id for row in rows})}
    attempts: dict[UUID, list[wire.WebhookAttempt]] = {row.id: [] for row in rows}
    for attempt in store.attempts_of(session, attempts):
        attempts[attempt.delivery_id].append(wire.WebhookAttempt.model_validate(attempt))
    names = ("id", "endpoint_id", "state", "reason", "created_at", "next_attempt_at", "finished_at")
    return [
        wire.WebhookDelivery.model_validate(
            {
                **{name: getattr(row, name) for name in names},
                "webhook_id": row.event_id,
                "type": events[row.event_id].type,
                "payload": events[row.event_id].payload,
                "attempts": attempts[row.id],
            }
        )
        for row in rows
    ]
