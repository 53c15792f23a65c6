"""`thumbwheel actors erase`, `erasures …`, `receipt`."""

import threading
from uuid import UUID

import pytest
from thumbwheel import wire

from app.privacy.erasures import service as erasures
from tests.logged import store


@pytest.fixture
def said(cli) -> None:
    store(
        "acme",
        [
            {
                "event_id": f"{actor} 1", "completion_id": "c1", "actor": actor, "prompt": "Hi?", "completion": "Ho.",
                "signal": {"kind": "thumbs", "value": "up"},
            }
            for actor in ("eve", "ann")
        ],
    )  # fmt: skip


def work(erasure_id: UUID) -> None:
    for _ in ("log", "events", "completions", "labels", "snapshots", "end"):
        erasures.advance(erasure_id)


def test_nobody_waits_for_an_erasure_that_a_legal_hold_covers(cli, said):
    hold = cli("holds", "add", "--actor", "eve", "--reason", "case 4 O 12/26").document

    assert f"waits. Legal hold {hold['id']} covers it" in cli.refused("actors", "erase", "eve", "--wait")


def test_an_actor_is_erased_waited_for_shown_and_let_back(cli, client, said):
    begun = cli("actors", "erase", "eve")
    assert begun.document["state"] == "pending"
    worker = threading.Thread(target=work, args=(UUID(begun.document["id"]),))
    worker.start()
    done = cli("actors", "erase", "eve", "--wait")
    worker.join()

    assert (done.code, done.document["state"]) == (0, "done"), done.err
    assert done.document["certificate"]["event_ids"] == ["eve 1"]
    [listed] = cli("erasures", "list").document
    assert cli("erasures", "show", listed["id"][-8:]).document == done.document
    assert cli("erasures", "lift", listed["id"][-8:]).document["tombstone"] is False
    assert [event.event_id for event in client.erasures.events(UUID(listed["id"]))] == ["eve 1"]
    refusal = cli.refused("actors", "erase", "nobody")
    assert refusal == "No feedback of an actor 'nobody' is stored: check the id."


def test_a_receipt_is_shown(cli, client, said):
    shown = cli("receipt", "ann 1")

    assert shown.document == client.events.receipt("ann 1").model_dump(mode="json")
    assert shown.document["label"]["label"] == "desirable"
    assert "no event" in cli.refused("receipt", "ann 2")


def test_never_train_goes_with_an_event(client):
    client.feedback("c9", "ann", "up", prompt="Hi?", completion="Ho.", never_train=True)

    [event] = client.events.list(completion_id="c9")
    assert isinstance(event, wire.StoredEvent)
    assert event.never_train
