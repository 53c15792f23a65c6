"""Actors by hashes: erasures by the caller's id reach both forms, and a change of settings waits for writers."""

import asyncio
import threading
from collections.abc import Iterator

import asyncpg
import pytest
from thumbwheel import wire

from app import settings
from app.database import transaction
from app.errors import NotFound, Unavailable
from app.feedback.ingest import append
from app.feedback.ingest.entries import event_entry
from app.feedback.ingest.group_commit import intake
from app.feedback.ingest.kinds import EVENTS
from app.labels.quarantine import service as quarantine
from app.privacy.erasures import service as erasures
from app.privacy.retention import service as retention
from app.project_setup import service as project_setup
from tests.desk import DESK, execute, make_project
from tests.logged import record, store
from tests.privacy.rows.test_retention import OLD, hold, keep, received, release, unfinished, work

MAIL = "ann.lee@example.com"


@pytest.fixture(autouse=True)
def _project(database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("THUMBWHEEL_PSEUDONYM_KEY", "k" * 40)
    settings.current.cache_clear()
    make_project()
    yield
    execute("DROP TABLE IF EXISTS events_2024_03")
    monkeypatch.undo()
    settings.current.cache_clear()


def thumb(actor: str, event_id: str, **more: str) -> dict[str, object]:
    signal = {"kind": "thumbs", "value": "up"}
    return {"event_id": event_id, "completion_id": "c1", "actor": actor, "signal": signal, **more}


def change(**sections: object) -> None:
    with transaction() as session:
        project_setup.change(session, DESK, wire.ProjectChange.model_validate(sections), "a test")


def erase(actor: str) -> wire.Erasure:
    with transaction() as session:
        erasure = erasures.request(session, DESK, actor, "key officer")
    for _ in range(20):
        erasures.advance(erasure.id)
        with transaction() as session:
            erasure = erasures.get(session, DESK, erasure.id)
        if erasure.state == "done":
            return erasure
    raise AssertionError(erasure)


def statuses(*events: dict[str, object]) -> list[str]:
    return [getattr(answer, "status", repr(answer)) for answer in record(DESK, events)]


def test_an_erasure_by_the_callers_id_reaches_events_under_the_id_and_under_its_hash() -> None:
    store(DESK, [thumb("eve", "before"), thumb("ann", "a")])
    change(actors="hashed")
    store(DESK, [thumb("eve", "after"), thumb("ann", "b")])
    with transaction() as session:
        decision = wire.NewQuarantineDecision(actor="eve", decision="confirmed", reason="spam")
        quarantine.decide(session, DESK, decision, "a test")

    done = erase("eve")

    assert done.certificate is not None
    assert done.certificate.event_ids == ["after", "before"]
    assert done.certificate.quarantine_decisions == 2
    assert execute("SELECT event_id FROM events ORDER BY position") == [("a",), ("b",)]
    assert execute("SELECT actor, pseudonym FROM erasures") == [(None, None)]
    assert statuses(thumb("eve", "c")) == ["erased_actor"]
    change(actors="plain")
    assert statuses(thumb("eve", "d"), thumb("ann", "e")) == ["erased_actor", "stored"]
    with transaction() as session:
        assert erasures.request(session, DESK, "eve", "key officer").id == done.id
        erasures.lift(session, DESK, done.id, "key officer")
    assert statuses(thumb("eve", "f")) == ["stored"]
    change(actors="hashed")
    assert statuses(thumb("eve", "g")) == ["stored"]


def test_an_actor_who_was_erased_before_actors_were_hashed_stays_away() -> None:
    store(DESK, [thumb("eve", "before")])
    erase("eve")

    change(actors="hashed")

    assert statuses(thumb("eve", "after"), thumb("ann", "a")) == ["erased_actor", "stored"]
    assert execute("SELECT event_id FROM events") == [("a",)]


def test_an_actor_is_erased_by_the_hash_that_a_listing_shows() -> None:
    change(actors="hashed")
    store(DESK, [thumb("eve", "e1")])
    [(shown,)] = execute("SELECT actor FROM events")

    erase(shown)

    assert execute("SELECT count(*) FROM events") == [(0,)]
    assert statuses(thumb("eve", "e2")) == ["erased_actor"]


def test_after_an_erasure_by_the_hash_the_id_itself_erases_the_rest_even_while_the_first_waits() -> None:
    store(DESK, [thumb("eve", "before")])
    change(actors="hashed")
    store(DESK, [thumb("eve", "after")])
    [(_,), (shown,)] = execute("SELECT actor FROM events ORDER BY position")
    with transaction() as session:
        first = erasures.request(session, DESK, shown, "key officer")

    erase("eve")
    erase(shown)

    assert execute("SELECT count(*) FROM events") == [(0,)]
    with transaction() as session:
        assert erasures.request(session, DESK, "eve", "key officer").id != first.id
        assert len(erasures.page(session, DESK, cursor=None, limit=9).items) == 2
    change(actors="plain")
    assert statuses(thumb("eve", "c")) == ["erased_actor"]


def test_an_actor_is_erased_under_both_forms_however_often_the_settings_changed_since() -> None:
    change(actors="hashed")
    store(DESK, [thumb("eve", "e1")])
    change(actors="plain")
    for number in range(20):
        change(redaction={"mode": "reject" if number % 2 else "off"})
        change(redaction={"mode": "mask", "kinds": ["email" if number % 2 else "card"]})

    erase("eve")

    assert execute("SELECT count(*) FROM events") == [(0,)]


def test_a_hold_on_an_actor_keeps_both_forms_from_retention_and_erasure_until_its_release() -> None:
    """The hold names the caller's own id, and was placed before actors were hashed."""
    received(OLD, [thumb("eve", "before"), thumb("ann", "a", completion_id="c2")])
    placed = hold(actor="eve")
    change(actors="hashed")
    received(OLD, [thumb("eve", "after", completion_id="c3"), thumb("bob", "b", completion_id="c2")])
    [(shown,)] = execute("SELECT actor FROM events WHERE event_id = 'after'")
    keep(13)

    work()
    with transaction() as session:
        waiting = [erasures.request(session, DESK, actor, "key officer") for actor in ("eve", shown)]
    for erasure in waiting:
        erasures.advance(erasure.id)

    assert execute("SELECT event_id FROM events ORDER BY position") == [("before",), ("after",)]
    assert [[each.hold_id for each in erasure.held] for erasure in waiting] == [[placed.id]] * 2
    assert statuses(thumb("eve", "c")) == ["erased_actor"]
    release(placed)
    work()
    assert execute("SELECT count(*) FROM events") == [(0,)]
    erase("eve")


def test_a_hold_on_an_actor_keeps_everything_once_the_key_of_the_hashes_is_replaced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    change(actors="hashed")
    received(OLD, [thumb("eve", "e1")])
    placed = hold(actor="eve")
    change(actors="plain")
    keep(13)
    monkeypatch.setenv("THUMBWHEEL_PSEUDONYM_KEY", "n" * 40)
    settings.current.cache_clear()
    change(actors="hashed")

    work()

    assert execute("SELECT event_id FROM events") == [("e1",)]
    release(placed)
    work()
    assert execute("SELECT count(*) FROM events") == [(0,)]


def test_an_erasure_by_the_hash_takes_the_id_itself_out_of_holds_that_have_ended() -> None:
    change(actors="hashed")
    store(DESK, [thumb("eve", "e1")])
    release(hold(actor="eve"))
    [(shown,)] = execute("SELECT actor FROM events")

    erase(shown)

    assert execute("SELECT subject FROM legal_holds") == [(None,)]


def test_a_project_whose_key_is_missing_does_not_stop_the_retention_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    make_project("other")
    received(OLD, [thumb("eve", "e1")])
    received(OLD, [thumb("eve", "e1")], "other")
    hold(actor="eve")
    change(actors="hashed")
    keep(13)
    keep(13, "other")
    monkeypatch.delenv("THUMBWHEEL_PSEUDONYM_KEY")
    settings.current.cache_clear()

    with transaction() as session:
        retention.plan(session)

    assert [row.month for row in unfinished("other")] == ["2024-03"]
    work(("other",))
    assert execute("SELECT project_id FROM events") == [(DESK,)]


def test_without_the_key_of_its_hashes_nobody_is_erased_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    store(DESK, [thumb("eve", "before")])
    change(actors="hashed")
    monkeypatch.delenv("THUMBWHEEL_PSEUDONYM_KEY")
    settings.current.cache_clear()

    with transaction() as session, pytest.raises(Unavailable, match="THUMBWHEEL_PSEUDONYM_KEY"):
        erasures.request(session, DESK, "eve", "key officer")

    make_project("other")
    with transaction() as session, pytest.raises(NotFound):
        erasures.request(session, "other", "eve", "key officer")


def test_rows_that_waited_for_the_log_while_the_setting_changed_are_not_stored_by_the_one_before() -> None:
    """The statement began before the change and goes on after it."""
    row = event_entry(DESK, wire.Event.model_validate(thumb("eve", "late", prompt=MAIL, completion="Hi"))).row

    async def race() -> str | None:
        url = settings.current().need_libpq_database()
        holder, writer = await asyncpg.connect(url), await asyncpg.connect(url)
        await holder.execute(f"BEGIN; SELECT pg_advisory_xact_lock({append.lock_key(DESK)})")
        writing = asyncio.create_task(append.append_events(writer, [row]))
        await asyncio.sleep(0.1)
        changing = asyncio.create_task(asyncio.to_thread(change, redaction={"mode": "mask"}))
        await asyncio.sleep(0.1)
        # The change waits behind the writer; this one is served first and makes the change visible before.
        await holder.execute(
            "INSERT INTO protections VALUES (gen_random_uuid(), 'desk', 7, 'mask', '{email}', false, now())"
        )
        await holder.execute("COMMIT")
        await asyncio.gather(changing, return_exceptions=True)
        try:
            await writing
        except asyncpg.PostgresError as error:
            return error.sqlstate
        finally:
            await holder.close()
            await writer.close()
        return None

    assert asyncio.run(race()) == append.OUTDATED
    assert execute("SELECT count(*) FROM events") == [(0,)]


def test_once_the_change_has_returned_nothing_unmasked_is_stored_by_any_process() -> None:
    """The intakes of two processes store without a pause while masking is switched on."""
    returned = threading.Event()
    after: list[str] = []

    async def send(name: str) -> None:
        async with intake(settings.current().need_libpq_database()) as way_in:
            for number in range(400):
                ended = returned.is_set()
                event_id = f"{name}{number}"
                sent = thumb("eve", event_id, prompt=MAIL, completion=f"Write to {MAIL}")
                await way_in.record(EVENTS, [event_entry(DESK, wire.Event.model_validate(sent))])
                if ended:
                    after.append(event_id)
                    if len(after) > 40:
                        return

    processes = [threading.Thread(target=asyncio.run, args=[send(name)]) for name in "ab"]
    for process in processes:
        process.start()
    while execute("SELECT count(*) FROM events") == [(0,)]:
        pass
    change(redaction={"mode": "mask"})
    returned.set()
    for process in processes:
        process.join()

    unmasked = {event_id for (event_id,) in execute("SELECT event_id FROM events WHERE events::text LIKE '%ann.lee%'")}
    assert unmasked
    assert len(after) > 40
    assert unmasked.isdisjoint(after)
