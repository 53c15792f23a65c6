"""Endpoints are disabled, enabled and tested; what they missed is replayed; their secrets are rotated."""

import threading
from http.server import HTTPServer
from typing import Any

import pytest
from thumbwheel import wire

from app.database import transaction
from app.errors import Conflict
from app.webhooks.deliveries import service as deliveries
from app.webhooks.endpoints import service as endpoints
from tests.conftest import ROOT
from tests.desk import DESK, execute
from tests.webhooks.endpoint import change, listen, log, pass_hours, publish, rung, shown


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


def test_an_endpoint_rests_for_as_long_as_its_receiver_asks(receiver):
    endpoint_id = listen(receiver)
    receiver.statuses, receiver.headers = [429], {"Retry-After": "1000"}
    publish()

    deliveries.deliver_next(endpoint_id)

    [(seconds,)] = execute("SELECT extract(epoch FROM rests_until - last_attempt_at) FROM webhook_endpoints")
    assert 1000 <= seconds < 1100


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
