"""`thumbwheel webhooks …`, and the same from Python."""

from datetime import UTC, datetime

from thumbwheel import wire

from tests.cli.conftest import on_a_screen

URL = "https://ops.example/hook/SECRET"


def test_an_endpoint_from_its_creation_to_its_end(cli, client):
    created = cli("webhooks", "create", URL, "--kind", "run.failed", "--kind", "release.*", "--description", "pager")
    assert created.code == 0, created.err
    assert created.document["secret"].startswith("whsec_")
    short = created.document["id"][-8:]

    [listed] = cli("webhooks", "list").document
    assert (listed["kinds"], listed["description"]) == (["run.failed", "release.*"], "pager")
    assert cli("webhooks", "change", short, "--format", "slack").document["format"] == "slack"
    assert cli("webhooks", "disable", short).document["enabled"] is False
    assert "enable it first" in cli.refused("webhooks", "test", short)
    assert cli("webhooks", "enable", short).document["enabled"] is True
    assert cli("webhooks", "rotate", short, "--overlap-hours", "1").document["secret"] != created.document["secret"]
    sent = cli("webhooks", "test", short).document
    assert [item["id"] for item in cli("webhooks", "deliveries", short).document] == [sent["id"]]
    assert cli("webhooks", "replay", short, sent["id"][-8:]).document["webhook_id"] == sent["webhook_id"]
    assert cli("webhooks", "replay", short, "--since", "2026-01-01").document == {"replayed": 0, "complete": True}
    assert cli("webhooks", "delete", short).document["id"] == created.document["id"]
    assert list(client.webhooks.list()) == []


def test_a_table_shows_the_host_of_a_url_and_not_its_path(cli):
    cli("webhooks", "create", URL)

    shown = on_a_screen(cli, "webhooks", "list")

    assert "ops.example" in shown
    assert "SECRET" not in shown


def test_from_python_the_same(client):
    created = client.webhooks.create(wire.NewWebhookEndpoint(url=URL, kinds=["gate.*"]))
    changed = client.webhooks.change(created.id, wire.WebhookEndpointChange(description="pager"))

    assert (changed.description, changed.kinds) == ("pager", ["gate.*"])
    assert client.webhooks.get(created.id) == changed
    sent = client.webhooks.test(created.id)
    assert [item.id for item in client.webhooks.deliveries(created.id, "pending")] == [sent.id]
    assert client.webhooks.replay(created.id, sent.id).id == sent.id
    assert client.webhooks.replay_missed(created.id, datetime(2026, 1, 1, tzinfo=UTC)).complete
    assert client.webhooks.rotate(created.id, 0).previous_secret_until is None
    assert client.webhooks.delete(created.id).id == created.id


def test_a_wrong_url_or_kind_is_one_line(cli):
    assert "use https" in cli.refused("webhooks", "create", "http://ops.example/")
    assert "kinds" in cli.refused("webhooks", "create", URL, "--kind", "run.exploded")
    assert "No webhook endpoint" in cli.refused("webhooks", "show", "abcd1234")
