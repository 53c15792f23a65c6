"""Events reach a real receiver, at least once and signed, whatever fails in between."""

import threading
import time
from uuid import UUID

import pytest
from thumbwheel import wire

from app.database import transaction
from app.webhooks import sending
from app.webhooks import service as webhooks
from app.webhooks.deliveries import service as deliveries
from tests.desk import DESK, at_once, execute
from tests.webhooks.endpoint import listen, log, pass_hours, publish, rung, shown


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
