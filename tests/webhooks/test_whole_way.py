"""A webhook's whole way: the API commits, the outbox rings, a worker's thread signs and sends, the log shows it."""

import time

import pytest
from thumbwheel import Client, wire

from app.cli.stack import Stack
from tests.webhooks.receiver import receiving

pytestmark = [pytest.mark.trial, pytest.mark.xdist_group("stack")]


def test_a_project_that_starts_over_tells_a_real_receiver(stack: Stack) -> None:
    with Client(stack.base_url, stack.admin_key, "webhooks") as client, receiving() as receiver:
        client.projects.create(wire.NewProject(project="webhooks", base_model="/models/base", suites=[]))
        endpoint = client.webhooks.create(wire.NewWebhookEndpoint(url=receiver.url, kinds=["release.*"]))
        receiver.secrets = [endpoint.secret]
        client.projects.change_base_model(wire.NewBaseModel(base_model="/models/other"))

        assert receiver.arrived.wait(30)
        until = time.monotonic() + 30
        while not (delivered := list(client.webhooks.deliveries(endpoint.id, "delivered"))):
            assert time.monotonic() < until, list(client.webhooks.deliveries(endpoint.id))
            time.sleep(0.05)

    assert (receiver.types, receiver.verified) == (["release.started_over"], [1])
    [attempt] = delivered[0].attempts
    assert attempt.status == 204
