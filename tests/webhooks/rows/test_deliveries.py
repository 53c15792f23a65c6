"""Events reach a real receiver, at least once and signed, whatever fails in between."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import HTTPServer
from typing import Any
from uuid import UUID

import pytest
from thumbwheel import wire

from app import settings
from app.database import transaction
from app.errors import Conflict
from app.webhooks import sending
from app.webhooks import service as webhooks
from app.webhooks.deliveries import service as deliveries
from app.webhooks.endpoints import service as endpoints
from tests.conftest import ROOT
from tests.desk import DESK, at_once, execute, make_project
from tests.webhooks.receiver import Receiver, receiving

pytestmark = pytest.mark.usefixtures("database", "private_allowed")


@pytest.fixture
def private_allowed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("THUMBWHEEL_WEBHOOKS_ALLOW_PRIVATE", "true")
    settings.current.cache_clear()
    make_project()
    yield
    monkeypatch.undo()
    settings.current.cache_clear()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


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
    return [endpoint for _, endpoint in sorted(rows)]


def test_an_event_is_delivered_once_it_is_committed_and_the_reference_library_verifies_it(receiver):
    endpoint_id = listen(receiver, "erasure.*")
    publish()

    assert rung() == [str(endpoint_id)]
    assert deliveries.deliver_next(endpoint_id)

    assert receiver.verified == [1]
    assert receiver.messages[0][1]["data"] == {
        "project": DESK, "url": "http://x", "erasure_id": str(UUID(int=1)), "state": "pending",
    }  # fmt: skip
    (delivery,) = log(endpoint_id)
    assert (delivery.state, str(delivery.webhook_id)) == ("delivered", receiver.ids[0])
    assert [(attempt.number, attempt.status) for attempt in delivery.attempts] == [(1, 204)]
    assert shown(endpoint_id).last_success_at is not None
    assert not deliveries.deliver_next(endpoint_id)


def test_an_event_of_a_transaction_that_is_rolled_back_does_not_exist(receiver):
    endpoint_id = listen(receiver)
    data = wire.ErasureWebhookData(project=DESK, url="http://x", erasure_id=UUID(int=1), state="pending")
    with transaction() as session:
        webhooks.publish(session, DESK, "erasure.requested", data)
        session.rollback()

    assert (log(endpoint_id), rung()) == ([], [])


def test_nothing_is_stored_for_a_project_without_an_endpoint_for_the_type(receiver):
    publish()
    listen(receiver, "release.*")
    publish()

    assert execute("SELECT count(*) FROM webhook_events") == [(0,)]
    assert rung() == []


def test_an_event_never_changes(receiver):
    listen(receiver)
    publish()

    with pytest.raises(Exception, match="never"):
        execute("UPDATE webhook_events SET type = 'run.failed'")


def test_a_failed_attempt_is_tried_again_with_the_same_id_when_the_tick_finds_it_due(receiver):
    endpoint_id = listen(receiver)
    receiver.statuses, receiver.body = [500, 204], b"out of \x00 order " + receiver.secrets[0].encode() + b"x" * 5000
    publish()
    deliveries.deliver_next(endpoint_id)
    assert not deliveries.deliver_next(endpoint_id), "it is not due yet"

    pass_hours(0.01)
    rung()
    with transaction() as session:
        deliveries.ring_due(session)
    assert rung() == [str(endpoint_id)]
    assert deliveries.deliver_next(endpoint_id)

    assert len(set(receiver.ids)) == 1
    assert receiver.verified == [1, 1]
    first, second = log(endpoint_id)[0].attempts
    assert (first.status, first.trouble, second.status) == (500, "HTTP 500", 204)
    assert first.answer.startswith("out of � order ***xxx"), "no secret that is sent back is kept"
    assert len(first.answer) <= 1024


def test_a_redirect_is_not_followed(receiver):
    endpoint_id = listen(receiver)
    receiver.statuses, receiver.headers = [302], {"Location": receiver.url}
    publish()

    deliveries.deliver_next(endpoint_id)

    assert len(receiver.messages) == 1
    assert log(endpoint_id)[0].attempts[0].trouble.startswith("HTTP 302: redirects are not followed")


def test_after_24_hours_without_success_the_delivery_fails_and_the_endpoint_is_disabled(receiver):
    endpoint_id = listen(receiver)
    receiver.statuses = [503]
    publish()
    for _ in range(20):
        if not deliveries.deliver_next(endpoint_id):
            break
        pass_hours(6)

    (delivery,) = log(endpoint_id)
    assert (delivery.state, delivery.reason) == ("failed", "given up after 24 hours, the last attempt: HTTP 503")
    assert len(receiver.messages) == len(delivery.attempts) == 5
    assert shown(endpoint_id).disabled_reason == "no event got through for 24 hours, the last attempt: HTTP 503"
    publish()
    assert len(log(endpoint_id)) == 1


def test_an_endpoint_that_got_another_event_meanwhile_stays_enabled(receiver):
    endpoint_id = listen(receiver)
    receiver.statuses = [400, 204, 400]
    publish()
    deliveries.deliver_next(endpoint_id)
    publish("erasure.completed")
    execute("UPDATE webhook_endpoints SET rests_until = NULL")
    deliveries.deliver_next(endpoint_id)
    pass_hours(24)
    deliveries.deliver_next(endpoint_id)

    assert [delivery.state for delivery in log(endpoint_id)] == ["failed", "delivered"]
    assert shown(endpoint_id).enabled


def test_410_disables_the_endpoint_and_a_replay_sends_what_it_missed_in_order(receiver):
    endpoint_id = listen(receiver, "erasure.*")
    began = shown(endpoint_id).created_at
    receiver.statuses = [410, 204]
    publish("erasure.requested")
    publish("erasure.failed")
    deliveries.deliver_next(endpoint_id)
    publish("erasure.completed")

    assert [delivery.state for delivery in log(endpoint_id)] == ["failed", "failed"]
    assert "410 Gone" in shown(endpoint_id).disabled_reason
    with pytest.raises(Conflict, match="enable it first"), transaction() as session:
        deliveries.replay_missed(session, DESK, endpoint_id, began)
    change(endpoint_id, enabled=True)
    assert not deliveries.deliver_next(endpoint_id), "what was given up is sent by a replay alone"
    with transaction() as session:
        receipt = deliveries.replay_missed(session, DESK, endpoint_id, began)
    assert (receipt.replayed, receipt.complete) == (3, True)
    rung()
    while deliveries.deliver_next(endpoint_id):
        pass

    assert receiver.types[1:] == ["erasure.requested", "erasure.failed", "erasure.completed"]
    assert receiver.ids[0] == receiver.ids[1]
    assert rung() == [str(endpoint_id)] * 2, "each outcome sends a message while more is due"
    with transaction() as session:
        assert deliveries.replay_missed(session, DESK, endpoint_id, began).replayed == 0


def test_a_delivered_event_is_sent_again_on_request(receiver):
    endpoint_id = listen(receiver)
    publish()
    deliveries.deliver_next(endpoint_id)
    (delivery,) = log(endpoint_id)

    with transaction() as session:
        again = deliveries.replay(session, DESK, endpoint_id, delivery.id)
    assert (again.id, again.state) == (delivery.id, "pending")
    deliveries.deliver_next(endpoint_id)

    assert receiver.ids == [str(delivery.webhook_id)] * 2
    assert [attempt.number for attempt in log(endpoint_id)[0].attempts] == [1, 2]


def test_two_workers_send_one_attempt_of_one_delivery(receiver):
    endpoint_id = listen(receiver)
    publish()
    publish()

    sent = at_once(4, lambda _: deliveries.deliver_next(endpoint_id))

    assert len(receiver.messages) == len(set(receiver.ids)) == sum(sent)


def test_while_an_attempt_is_under_way_no_other_worker_sends_to_the_endpoint(receiver):
    endpoint_id = listen(receiver)
    publish()
    publish()
    receiver.answering.clear()
    worker = threading.Thread(target=deliveries.deliver_next, args=(endpoint_id,))
    worker.start()
    assert receiver.arrived.wait(10)

    assert not deliveries.deliver_next(endpoint_id)

    receiver.answering.set()
    worker.join()
    assert len(receiver.messages) == 1
    assert rung()[-1] == str(endpoint_id)


def test_a_worker_killed_between_request_and_commit_leads_to_another_attempt_with_the_same_id(receiver):
    endpoint_id = listen(receiver)
    publish()
    with transaction() as session:
        claimed = deliveries.claim(session, endpoint_id)
    deliveries.send(claimed, time.monotonic() + 5)  # and here the worker is killed
    assert not deliveries.deliver_next(endpoint_id), "its lease is held"

    pass_hours(0.01)
    with transaction() as session:
        deliveries.ring_due(session)
    assert str(endpoint_id) in rung()
    deliveries.deliver_next(endpoint_id)

    assert receiver.ids == [str(claimed.webhook_id)] * 2
    (delivery,) = log(endpoint_id)
    assert [(attempt.number, attempt.status) for attempt in delivery.attempts] == [(1, None), (2, 204)]


def test_a_worker_that_was_frozen_changes_nothing_but_the_log_when_it_comes_back(receiver):
    endpoint_id = listen(receiver)
    publish()
    with transaction() as session:
        frozen = deliveries.claim(session, endpoint_id)
    pass_hours(0.01)
    with transaction() as session:
        second = deliveries.claim(session, endpoint_id)
    assert (frozen.number, second.number) == (1, 2)

    with transaction() as session:
        deliveries.conclude(session, frozen, sending.AttemptOutcome(60.0, status=410, trouble="HTTP 410"))

    assert shown(endpoint_id).enabled
    assert not deliveries.deliver_next(endpoint_id), "the second attempt is under way"
    with transaction() as session:
        deliveries.conclude(session, second, sending.AttemptOutcome(1.0, status=204))
    (delivery,) = log(endpoint_id)
    assert (delivery.state, [attempt.status for attempt in delivery.attempts]) == ("delivered", [410, 204])


def test_during_a_rotation_both_secrets_verify_and_afterwards_the_new_one_alone(receiver):
    endpoint_id = listen(receiver)
    with transaction() as session:
        rotated = endpoints.rotate(session, DESK, endpoint_id, wire.SecretRotation())
    receiver.secrets = [*receiver.secrets, rotated.secret]
    publish()
    deliveries.deliver_next(endpoint_id)
    execute("UPDATE webhook_endpoints SET previous_secret_until = now()")
    publish()
    deliveries.deliver_next(endpoint_id)

    assert receiver.verified == [2, 1]
    with transaction() as session:
        deliveries.forget(session)
    assert execute("SELECT previous_secret FROM webhook_endpoints") == [(None,)]


def test_a_message_for_slack_has_its_shape(receiver):
    endpoint_id = listen(receiver, format="slack")
    publish()

    deliveries.deliver_next(endpoint_id)

    assert receiver.messages[0][1]["text"] == f"{DESK}: erasure.requested"


def test_a_name_with_a_private_address_is_not_called_whatever_it_resolved_to_before(receiver, monkeypatch):
    endpoint_id = listen(receiver)
    port = int(receiver.url.partition("127.0.0.1:")[2].partition("/")[0])
    execute("UPDATE webhook_endpoints SET url = :url", url=f"https://rebinding.example:{port}/hook")
    monkeypatch.setenv("THUMBWHEEL_WEBHOOKS_ALLOW_PRIVATE", "false")
    settings.current.cache_clear()
    publish()
    for addresses in (["93.184.216.34", "127.0.0.1"], ["127.0.0.1"], ["::ffff:127.0.0.1"]):
        deliveries.deliver_next(endpoint_id, resolve=fixed(*addresses))
        execute("UPDATE webhook_deliveries SET next_attempt_at = now()")
        execute("UPDATE webhook_endpoints SET rests_until = NULL")

    assert receiver.messages == []
    troubles = [attempt.trouble for attempt in log(endpoint_id)[0].attempts]
    assert troubles[0] == "rebinding.example has the address 127.0.0.1, a private address: nothing is sent there"
    assert all("a private address" in trouble for trouble in troubles)


def test_the_connection_goes_to_the_checked_address_with_the_name_of_the_url(receiver):
    port = int(receiver.url.partition("127.0.0.1:")[2].partition("/")[0])
    endpoint_id = listen(receiver)
    change(endpoint_id, url=f"http://ops.example:{port}/hook")
    publish()

    deliveries.deliver_next(endpoint_id, resolve=fixed("127.0.0.1"))

    assert receiver.verified == [1]


@pytest.mark.parametrize(
    "resolve", [lambda _, __: time.sleep(5), lambda _, __: []], ids=["a silent resolver", "no address"]
)
def test_a_name_that_is_not_resolved_is_trouble_of_the_attempt(receiver, monkeypatch, resolve):
    monkeypatch.setattr(sending, "CONNECT_SECONDS", 0.1)
    endpoint_id = listen(receiver)
    publish()

    deliveries.deliver_next(endpoint_id, resolve=resolve)

    assert log(endpoint_id)[0].attempts[0].trouble


def test_a_receiver_that_sends_a_byte_now_and_then_is_cut_off_at_the_deadline(receiver, monkeypatch):
    monkeypatch.setattr(sending, "WHOLE_SECONDS", 0.4)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\nx: ")
                for _ in range(20):
                    time.sleep(0.1)
                    try:
                        connection.sendall(b"y")
                    except OSError:
                        return

        thread = threading.Thread(target=drip)
        thread.start()
        endpoint_id = listen(receiver)
        change(endpoint_id, url=f"http://127.0.0.1:{server.getsockname()[1]}/")
        publish()
        began = time.monotonic()
        deliveries.deliver_next(endpoint_id)
        taken = time.monotonic() - began
        thread.join()

    assert taken < 1.5
    assert log(endpoint_id)[0].attempts[0].trouble.startswith("no answer within")


def test_an_endpoint_that_fails_rests_while_its_other_deliveries_wait(receiver):
    endpoint_id = listen(receiver)
    receiver.statuses = [500]
    publish()
    publish()

    assert deliveries.deliver_next(endpoint_id)
    assert not deliveries.deliver_next(endpoint_id)

    with transaction() as session:
        rung()
        deliveries.ring_due(session)
    assert rung() == []


def test_disabling_by_hand_gives_up_pending_deliveries(receiver):
    endpoint_id = listen(receiver)
    publish()
    change(endpoint_id, enabled=False)

    assert log(endpoint_id)[0].reason == "the endpoint is disabled: disabled by key test"
    assert not deliveries.deliver_next(endpoint_id)
    with pytest.raises(Conflict), transaction() as session:
        deliveries.send_test(session, DESK, endpoint_id)


def test_a_test_event_reaches_an_endpoint_whatever_it_subscribes_to(receiver):
    endpoint_id = listen(receiver, "run.failed")
    with transaction() as session:
        deliveries.send_test(session, DESK, endpoint_id)

    deliveries.deliver_next(endpoint_id)

    assert receiver.types == ["webhook.test"]


def test_events_older_than_30_days_are_forgotten_with_their_log(receiver):
    endpoint_id = listen(receiver)
    execute("ALTER TABLE webhook_events DISABLE TRIGGER refuse_update")
    publish()
    deliveries.deliver_next(endpoint_id)
    execute("UPDATE webhook_events SET created_at = now() - interval '31 days'")
    execute("ALTER TABLE webhook_events ENABLE TRIGGER refuse_update")
    publish()

    with transaction() as session:
        deliveries.forget(session)

    assert len(log(endpoint_id)) == 1
    assert execute("SELECT count(*) FROM webhook_attempts") == [(0,)]


def test_a_project_has_20_endpoints_at_most(receiver):
    for _ in range(20):
        listen(receiver)

    with pytest.raises(Conflict, match="20 webhook endpoints"):
        listen(receiver)


def test_the_receiver_of_the_guide_accepts_signed_messages_alone(receiver, monkeypatch, capsys):
    guide = (ROOT / "docs" / "webhooks.md").read_text()
    code = guide.partition("```python\n")[2].partition("```")[0]
    names: dict[str, Any] = {}
    exec(code[: code.index("\nHTTPServer")], names)
    names["Receiver"].log_message = lambda *_: None
    with HTTPServer(("127.0.0.1", 0), names["Receiver"]) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        endpoint_id = listen(receiver, url=f"http://127.0.0.1:{server.server_port}/")
        monkeypatch.setenv("WEBHOOK_SECRET", receiver.secrets[0])
        publish()
        deliveries.deliver_next(endpoint_id)
        monkeypatch.setenv("WEBHOOK_SECRET", "whsec_" + "A" * 44)
        publish()
        deliveries.deliver_next(endpoint_id)
        server.shutdown()
        thread.join()

    assert [delivery.attempts[0].status for delivery in log(endpoint_id)] == [204, 401]
    assert "erasure.requested" in capsys.readouterr().out
