"""The threads that send webhooks beside the tick."""

import threading
from uuid import uuid4

from worker.webhook_senders import THREADS, WebhookSenders


def test_a_slow_receiver_holds_up_neither_the_message_nor_other_endpoints_and_waiting_ones_wait_once():
    going_on, sent, arrived = threading.Event(), [], threading.Semaphore(0)
    slow, quick = uuid4(), uuid4()

    def deliver(endpoint_id):
        if endpoint_id == slow:
            arrived.release()
            going_on.wait(10)
        sent.append(endpoint_id)

    senders = WebhookSenders(deliver)
    senders.look_at(slow)
    assert arrived.acquire(timeout=10)
    senders.look_at(quick)
    senders.look_at(quick)

    going_on.set()
    senders.close()

    assert sent.count(slow) == 1
    assert sent.count(quick) <= 2


def test_an_endpoint_that_already_waits_is_not_added_again():
    going_on, sent, arrived = threading.Event(), [], threading.Semaphore(0)
    waiting = uuid4()

    def deliver(endpoint_id):
        arrived.release()
        going_on.wait(10)
        sent.append(endpoint_id)

    senders = WebhookSenders(deliver)
    for _ in range(THREADS):
        senders.look_at(uuid4())
        assert arrived.acquire(timeout=10)
    for _ in range(5):
        senders.look_at(waiting)

    going_on.set()
    assert arrived.acquire(timeout=10)
    senders.close()

    assert sent.count(waiting) == 1


def test_an_error_of_one_endpoint_leaves_the_threads_for_the_others():
    done = threading.Event()
    broken = uuid4()

    def deliver(endpoint_id):
        if endpoint_id == broken:
            raise RuntimeError("Postgres is away")
        done.set()

    senders = WebhookSenders(deliver)
    senders.look_at(broken)
    senders.look_at(uuid4())

    assert done.wait(10)
    senders.close()
