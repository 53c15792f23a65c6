"""A webhook's whole way: the API commits, the outbox rings, a worker's thread signs and sends, the log shows it."""

import pytest
from thumbwheel import Client, wire

from app import services
from app.cli.stack import Stack
from tests.webhooks.receiver import receiving

#: Seconds after which a wait counts as a hang.
PATIENCE = 120

pytestmark = [pytest.mark.trial, pytest.mark.xdist_group("stack")]


def test_a_project_that_starts_over_tells_a_real_receiver(stack: Stack) -> None:
    with Client(stack.base_url, stack.admin_key, "webhooks") as client, receiving() as receiver:
        client.projects.create(wire.NewProject(project="webhooks", base_model="/models/base", suites=[]))
        endpoint = client.webhooks.create(wire.NewWebhookEndpoint(url=receiver.url, kinds=["release.*"]))
        receiver.secrets = [endpoint.secret]
        client.projects.change_base_model(wire.NewBaseModel(base_model="/models/other"))

        assert receiver.arrived.wait(PATIENCE)
        assert services.wait_until(lambda: any(client.webhooks.deliveries(endpoint.id, "delivered")), PATIENCE)
        delivered = list(client.webhooks.deliveries(endpoint.id, "delivered"))

    assert (receiver.types, receiver.verified) == (["release.started_over"], [1])
    [attempt] = delivered[0].attempts
    assert attempt.status == 204
