"""The feedback log: stored once, compared with what is there, ended by a watermark."""

import threading

import psycopg
import pytest
from sqlalchemy import text
from thumbwheel import wire

from app.database import transaction
from app.errors import Conflict, Invalid
from app.feedback import service
from app.projects.tables import Project

P = "desk"


@pytest.fixture
def project(database) -> str:
    with transaction() as session:
        session.add(Project(id=P, base_model="/models/base", configuration={}))
    return P


def thumb(completion_id: str = "c1", value: str = "up", **more) -> dict:
    return {"completion_id": completion_id, "actor": "ann", "signal": {"kind": "thumbs", "value": value}, **more}


def record(body: dict) -> wire.EventReceipt:
    with transaction() as session:
        return service.record(session, P, wire.Event.model_validate(body))


def batch(items: list) -> wire.BatchReceipt:
    with transaction() as session:
        return service.record_batch(session, P, items)


def log(**filters) -> list[wire.StoredEvent]:
    with transaction() as session:
        return service.page(session, P, **filters).items


def test_an_event_is_stored_as_it_was_sent(project):
    prompt = [{"role": "user", "content": "Où est mon colis ? 📦"}]
    sent = thumb(
        event_id="e1", prompt=prompt, completion="Demain.", occurred_at="2026-01-02T03:04:05.678901+02:00",
        checkpoint_id="01890a5d-ac96-774b-bcce-b302099a8057", metadata={"page": 3, "deep": {"x": [1.5, None]}},
    )  # fmt: skip

    assert record(sent).status == "stored"

    [stored] = log()
    assert (stored.event_id, stored.position, stored.prompt, stored.completion) == ("e1", 1, prompt, "Demain.")
    assert stored.occurred_at.isoformat() == "2026-01-02T01:04:05.678901+00:00"
    assert str(stored.checkpoint_id) == sent["checkpoint_id"]
    assert stored.metadata == sent["metadata"]


def test_an_identical_retry_stores_nothing(project):
    record(thumb(event_id="e1"))

    again = record(thumb(event_id="e1", metadata={}))

    assert again.status == "replayed"
    assert len(log()) == 1


def test_another_body_under_the_same_id_is_a_conflict_that_names_the_fields(project):
    record(thumb(event_id="e1", metadata={"page": 1, "same": True}))

    with pytest.raises(Conflict) as caught:
        record(thumb(event_id="e1", value="down", metadata={"page": 2, "same": True}))

    assert caught.value.details["differs"] == ["/metadata/page", "/signal/value"]
    assert "/signal/value" in caught.value.message
    assert [event.signal["value"] for event in log()] == ["up"]


def test_a_time_that_was_not_sent_differs_from_one_that_was(project):
    record(thumb(event_id="e1"))

    with pytest.raises(Conflict) as caught:
        record(thumb(event_id="e1", occurred_at="2026-01-01T00:00:00Z"))

    assert caught.value.details["differs"] == ["/occurred_at"]


def test_without_an_event_id_a_retry_is_known_by_what_it_says(project):
    first, retry, other = record(thumb()), record(thumb()), record(thumb(value="down"))

    assert (first.status, retry.status, other.status) == ("stored", "replayed", "stored")
    assert first.event_id == retry.event_id != other.event_id


def test_a_batch_stores_what_is_valid_and_says_what_is_wrong_with_the_rest(project):
    record(thumb(event_id="there"))
    receipt = batch(
        [
            thumb(event_id="a"),
            thumb(event_id="b", colour="red"),
            7,
            thumb(event_id="a"),
            thumb(event_id="a", value="down"),
            thumb(event_id="there"),
            thumb(event_id="there", value="down"),
            {"event_id": "c", "completion_id": "c1", "signal": {"kind": "thumbs", "value": "sideways"}},
        ]
    )

    found = [(item.index, item.event_id, item.status, item.pointer) for item in receipt.items]
    assert found == [
        (0, "a", "stored", None),
        (1, "b", "invalid", "/colour"),
        (2, None, "invalid", ""),
        (3, "a", "replayed", None),
        (4, "a", "conflict", "/signal/value"),
        (5, "there", "replayed", None),
        (6, "there", "conflict", "/signal/value"),
        (7, "c", "invalid", "/actor"),
    ]
    assert (receipt.stored, receipt.replayed, receipt.rejected) == (1, 2, 5)
    assert "/signal/value" in (receipt.items[7].error or "")
    assert {event.event_id for event in log()} == {"there", "a"}


def test_a_batch_keeps_its_order_in_the_log(project):
    batch([thumb(event_id=f"e{9 - number}") for number in range(10)])

    assert [event.event_id for event in log()] == [f"e{number}" for number in range(10)]


def test_a_batch_that_is_sent_twice_stores_nothing_new(project):
    items = [thumb(f"c{number}") for number in range(300)]

    first, second = batch(items), batch(items)

    assert (first.stored, first.replayed) == (300, 0)
    assert (second.stored, second.replayed) == (0, 300)


def test_an_empty_batch_is_fine(project):
    assert batch([]).items == []


def test_two_projects_may_use_the_same_event_id(project):
    with transaction() as session:
        session.add(Project(id="other", base_model="/models/base", configuration={}))
        session.flush()
        event = wire.Event.model_validate(thumb(event_id="e1"))

        assert service.record(session, P, event).status == "stored"
        assert service.record(session, "other", event).status == "stored"


def test_pages_go_back_to_the_first_event_and_are_filtered(project):
    batch([thumb(f"c{number % 2}", event_id=f"e{number}", actor=f"u{number % 3}") for number in range(7)])

    with transaction() as session:
        first = service.page(session, P, limit=4)
        second = service.page(session, P, limit=4, cursor=first.next_cursor)

    assert [event.event_id for event in first.items + second.items] == [f"e{n}" for n in (6, 5, 4, 3, 2, 1, 0)]
    assert second.next_cursor is None
    assert [event.event_id for event in log(completion_id="c1")] == ["e5", "e3", "e1"]
    assert [event.event_id for event in log(completion_id="c0", actor="u0")] == ["e6", "e0"]


@pytest.mark.parametrize("cursor", ["*", "eA", "LTE", "OTk5OTk5OTk5OTk5OTk5OTk5OTk5OQ"])
def test_a_cursor_that_no_page_gave_out_is_refused(project, cursor):
    with pytest.raises(Invalid), transaction() as session:
        service.page(session, P, cursor=cursor)


def test_the_log_refuses_to_be_changed(project):
    record(thumb())

    with pytest.raises(psycopg.errors.RestrictViolation), psycopg.connect(_plain_url()) as connection:
        connection.execute("UPDATE events SET actor = 'bob'")


def test_the_watermark_is_the_newest_position(project):
    with transaction() as session:
        assert service.watermark(session, P) == 0
    batch([thumb(f"c{number}") for number in range(3)])

    with transaction() as session:
        assert service.watermark(session, P) == 3


def test_the_watermark_waits_for_events_that_are_under_way(project):
    """Position 1 is drawn and not committed when position 2 is committed: the watermark may not be 2 without 1."""
    found = []

    def ask() -> None:
        with transaction() as session:
            found.append(service.watermark(session, P))

    with transaction() as slow:
        service.record(slow, P, wire.Event.model_validate(thumb("slow")))
        record(thumb("quick"))
        asking = threading.Thread(target=ask)
        asking.start()
        _wait_for_a_waiting_lock()
        assert found == []
    asking.join(timeout=30)

    assert found == [2]
    assert {event.position for event in log()} == {1, 2}


def test_who_asked_for_the_watermark_does_not_keep_writers_waiting(project):
    with transaction() as session:
        service.watermark(session, P)
        session.execute(text("SELECT 1"))

        assert record(thumb()).status == "stored"  # in a transaction of its own, while this one is open


def test_the_same_event_from_many_threads_is_stored_once(project):
    statuses: list[str] = []

    def send() -> None:
        statuses.append(record(thumb(event_id="e1")).status)

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)

    assert sorted(statuses) == ["replayed"] * 7 + ["stored"]


def _plain_url() -> str:
    from app import settings

    return settings.current().need_database().replace("postgresql+psycopg", "postgresql")


def _wait_for_a_waiting_lock() -> None:
    with psycopg.connect(_plain_url(), autocommit=True) as connection:
        for _ in range(100_000):
            waiting = connection.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
            row = waiting.fetchone()
            if row is not None and row[0]:
                return
    raise AssertionError("nobody waits for the log's lock")
