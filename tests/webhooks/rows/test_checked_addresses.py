"""A request goes to a checked address, and ends in time."""

import socket
import threading
import time

import pytest

from app import settings
from app.webhooks import sending
from app.webhooks.deliveries import service as deliveries
from tests.desk import execute
from tests.webhooks.endpoint import change, fixed, listen, log, publish


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
