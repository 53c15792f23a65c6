"""`thumbwheel quarantine …`: listed, released, confirmed."""

import pytest
from thumbwheel import wire

from tests.cli.conftest import on_a_screen
from tests.labels.rows.test_quarantine import thumbs
from tests.logged import store


@pytest.fixture
def bot(cli) -> None:
    """Stores votes of `bot`, 70 in 35 seconds, and of `ann` at a normal speed."""
    store("acme", [*thumbs("bot", 70, apart=0.5, value="both"), *thumbs("ann", 3, apart=50)])


def test_an_actor_is_listed_released_and_confirmed_again(cli, client, bot):
    [listed] = cli("quarantine", "list").document
    assert (listed["actor"], listed["state"]) == ("bot", "quarantined")

    released = cli("quarantine", "release", "bot", "--reason", "our own test")
    assert released.code == 0, released.err
    assert (released.document["decision"], released.document["by"]) == ("released", "key first admin")
    assert cli("quarantine", "list", "--state", "quarantined").document == []

    cli("quarantine", "confirm", "bot", "--reason", "a script after all")
    assert cli("quarantine", "show", "bot").document["state"] == "confirmed"
    assert [entry.reason for entry in client.quarantine.decisions("bot")] == ["a script after all", "our own test"]


def test_from_python_the_same(client, bot):
    assert [entry.actor for entry in client.quarantine.list("quarantined")] == ["bot"]

    taken = client.quarantine.decide(wire.NewQuarantineDecision(actor="bot", decision="released", reason="own"))

    assert client.quarantine.get("bot").decision == taken
    assert list(client.quarantine.decisions()) == [taken]
    assert list(client.quarantine.list("quarantined")) == []


def test_a_terminal_gets_a_table_with_the_figures(cli, bot):
    shown = on_a_screen(cli, "quarantine", "list")

    assert {"bot", "quarantined", "burst:", "70", "votes", "bot/0,"} <= set(shown.split())


def test_what_cannot_be_decided_is_one_line(cli, bot):
    assert "check the id" in cli.refused("quarantine", "release", "nobody", "--reason", "own")
    assert "the votes count" in cli.refused("quarantine", "show", "ann")
    assert "reason" in cli.refused("quarantine", "confirm", "bot", "--reason", " ")
