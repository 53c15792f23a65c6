"""Erasures in Postgres: the block on an actor, the erased data, and failures of a step."""

import asyncio
import threading
from uuid import UUID

import asyncpg
import psycopg
import pytest
from sqlalchemy.exc import DBAPIError
from thumbwheel import wire

from app import settings
from app.database import transaction
from app.errors import Conflict, NotFound
from app.feedback import service as feedback
from app.feedback.ingest import append
from app.feedback.ingest.entries import event_entry
from app.labels.audits import service as audits
from app.labels.quarantine import service as quarantine
from app.loop import service as loop
from app.privacy.erasures import service as erasures
from app.privacy.erasures.failures import MOST_ATTEMPTS
from tests.desk import DESK, execute, make_project
from tests.logged import record, register, store

BY = "key officer"
SECRET = "the parcel of Eve Adams, 7 Elm Street"


@pytest.fixture(autouse=True)
def _project(database):
    make_project()


def thumb(actor: str, completion_id: str, **more) -> dict[str, object]:
    return {
        "event_id": f"{actor} on {completion_id}",
        "completion_id": completion_id,
        "actor": actor,
        "signal": {"kind": "thumbs", "value": "up"},
        **more,
    }


def texts(number: int, secret: str = "nobody's secret") -> dict[str, str]:
    return {"prompt": f"Question {number} of {secret}?", "completion": f"Answer {number} to {secret}."}


def ask(actor: str = "eve") -> wire.Erasure:
    with transaction() as session:
        return erasures.request(session, DESK, actor, BY)


def shown(erasure: wire.Erasure) -> wire.Erasure:
    with transaction() as session:
        return erasures.get(session, DESK, erasure.id)


def finish(erasure: wire.Erasure) -> wire.Erasure:
    """Advances an erasure until it is done, like a worker that receives one message after another."""
    for _ in range(20):
        erasures.advance(erasure.id)
        if shown(erasure).state == "done":
            return shown(erasure)
    raise AssertionError(shown(erasure))


def lift(erasure: wire.Erasure) -> wire.Erasure:
    with transaction() as session:
        return erasures.lift(session, DESK, erasure.id, BY)


def tables_with(words: str) -> list[str]:
    """Returns the tables that contain these words in any column of any row."""
    names = execute("SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace")
    return [
        name
        for (name,) in names
        if execute(f"SELECT 1 FROM {name} one WHERE strpos(one::text, :words) > 0", words=words)
    ]


# -- kept away --------------------------------------------------------------------------------------------------------


def test_what_an_erased_actor_says_is_refused_and_what_others_say_beside_it_is_stored():
    store(DESK, [thumb("eve", "c1")])
    ask()

    answers = record(DESK, [thumb("ann", "c1"), thumb("eve", "c2"), thumb("eve", "c1"), thumb("bob", "c2")])

    assert [answer.status for answer in answers] == ["stored", "erased_actor", "erased_actor", "stored"]


def test_an_actor_of_the_same_id_in_another_project_may_speak():
    make_project("other")
    store(DESK, [thumb("eve", "c1")])
    ask()

    assert [answer.status for answer in record("other", [thumb("eve", "c1")])] == ["stored"]


def test_an_event_that_waited_for_the_log_while_its_actor_was_erased_is_refused():
    """The event's statement began before the tombstone existed and continues after the erasure has read the log."""
    store(DESK, [thumb("eve", "c1")])
    late = event_entry(DESK, wire.Event.model_validate({**thumb("eve", "c2"), "event_id": "late"})).row

    async def scenario() -> list[append.Fate]:
        url = settings.current().need_libpq_database()
        writer, holder = await asyncpg.connect(url), await asyncpg.connect(url)
        await holder.execute("BEGIN; SELECT pg_advisory_xact_lock($1)".replace("$1", str(append.lock_key(DESK))))
        writing = asyncio.create_task(append.append_events(writer, [late]))
        while not await holder.fetchval("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"):
            assert not writing.done(), writing
            await asyncio.sleep(0)
        await asyncio.to_thread(ask)
        await holder.execute("COMMIT")
        fates = await writing
        await writer.close()
        await holder.close()
        return fates

    assert asyncio.run(scenario()) == ["erased"]


def test_an_actor_may_come_back_and_what_was_erased_stays_away():
    store(DESK, [thumb("eve", "c1")])
    with pytest.raises(Conflict, match="wait for its end"):
        lift(ask())
    done = finish(ask())
    assert done.tombstone

    lifted = lift(done)

    assert (lifted.tombstone, lifted.lifted_by) == (False, BY)
    assert lift(done) == lifted
    assert [one.status for one in record(DESK, [thumb("eve", "c1"), thumb("eve", "c2")])] == ["erased", "stored"]
    again = ask()
    assert again.id != done.id
    assert finish(again).certificate.event_ids == ["eve on c2"]
    assert ask().id == again.id


# -- erased -----------------------------------------------------------------------------------------------------------


def test_nothing_of_an_actor_is_left_in_any_table_but_event_ids_that_were_taken():
    store(DESK, [thumb(f"user {number}", f"c{number}", **texts(number)) for number in range(6)])
    no = {"kind": "reject"}
    store(DESK, [{**thumb(f"user {n}", f"d{n}", **texts(n)), "signal": no} for n in range(6)])
    eve = "eve-7f3a"
    mine = [
        {**thumb(eve, "e1", **texts(1, SECRET)), "event_id": "v1", "metadata": {"street": SECRET}},
        {**thumb(eve, "e2"), "event_id": "v2", "signal": {"kind": "comment", "text": SECRET}},
        {**thumb(eve, "c3"), "event_id": "v3", "signal": {"kind": "edit", "text": SECRET}},
        {
            **thumb(eve, "e4", **texts(4)), "event_id": "v4",
            "signal": {"kind": "preference", "rejected": SECRET, "rejected_completion_id": "e5"},
        },
    ]  # fmt: skip
    store(DESK, mine)
    register(DESK, "e2", texts(2, SECRET))
    register(DESK, "c1", texts(1))
    with transaction() as session:
        drawn = audits.start(session, DESK, wire.NewAudit(per_class=50), BY)
        items = _items(session, drawn)
        of_eve = [one for one in items if one.completion_id.partition("#")[0] in ("e1", "e2", "c3", "e4", "e5")]
        [judged] = [one for one in of_eve if one.completion_id == "e1"]
        audits.give(session, DESK, drawn.id, judged.number, wire.NewAuditVerdict(verdict="agree", note=SECRET), BY)
        quarantine.decide(session, DESK, wire.NewQuarantineDecision(actor=eve, decision="confirmed", reason="odd"), BY)
    assert {"label_audit_items", "completions"} < set(tables_with(SECRET))

    done = finish(ask(eve))

    assert tables_with(SECRET) == []
    assert tables_with(eve) == []
    found = done.certificate
    assert (found.events, found.event_ids, found.completions) == (4, ["v1", "v2", "v3", "v4"], 1)
    assert any("#edit:" in one.completion_id for one in of_eve)
    assert (found.audit_items, found.quarantine_decisions) == (len(of_eve), 1)
    assert (done.requested_by, done.actor_sha256) == (BY, feedback.actor_sha256(DESK, eve).hex())
    assert execute("SELECT count(*) FROM erased_completions") == [(0,)]
    with transaction() as session:
        assert feedback.completion(session, DESK, "c1").completion == texts(1)["completion"]
        after = audits.get(session, DESK, drawn.id)
    assert [one.agreed for one in after.classes if one.label == "desirable"] == [1]
    assert len(feedback_log()) == 12


def _items(session, drawn: wire.Audit) -> list[wire.AuditItem]:
    return audits.items(session, DESK, drawn.id, pending=False, cursor=None, limit=200).items


def feedback_log() -> list[wire.StoredEvent]:
    with transaction() as session:
        return feedback.page(session, DESK, limit=200).items


def test_a_registered_text_that_somebody_else_spoke_of_stays():
    store(DESK, [thumb("eve", "c1"), thumb("ann", "c1"), thumb("eve", "c2"), thumb("eve", "c3")])
    preferred = {"kind": "preference", "rejected_completion_id": "c2"}
    store(DESK, [{**thumb("bob", "c4", **texts(4)), "signal": preferred}])
    for number in (1, 2, 3):
        register(DESK, f"c{number}", texts(number))

    assert finish(ask()).certificate.completions == 1

    assert execute("SELECT completion_id FROM completions ORDER BY 1") == [("c1",), ("c2",)]


def test_postgres_itself_keeps_decisions_on_actors_who_are_not_being_erased():
    store(DESK, [thumb("eve", "c1")])
    with transaction() as session:
        new = wire.NewQuarantineDecision(actor="eve", decision="confirmed", reason="odd")
        quarantine.decide(session, DESK, new, BY)

    with pytest.raises(DBAPIError, match="never changed"), transaction() as session:
        quarantine.erase(session, DESK, "eve")


def test_who_is_not_in_the_log_is_not_erased():
    with pytest.raises(NotFound, match="check the id"):
        ask("nobody")


def test_while_an_erasure_goes_on_the_same_one_answers_and_once_it_is_done_too():
    store(DESK, [thumb("eve", "c1")])
    first = ask()

    assert ask().id == first.id
    erasures.advance(first.id)
    assert (ask().id, ask().state) == (first.id, "running")
    finish(first)
    assert (ask().id, ask().state) == (first.id, "done")
    assert [row.id for row in _page()] == [first.id]


def _page() -> list[wire.Erasure]:
    with transaction() as session:
        return erasures.page(session, DESK, cursor=None, limit=10).items


# -- when something goes wrong ----------------------------------------------------------------------------------------


def test_a_step_whose_connection_dies_is_tried_again_and_ends_the_same():
    store(DESK, [thumb("eve", "c1", **texts(1, SECRET)), thumb("ann", "c2", **texts(2))])
    erasure = ask()
    erasures.advance(erasure.id)

    with psycopg.connect(settings.current().need_libpq_database()) as holder:
        holder.execute("LOCK TABLE event_ids IN ACCESS EXCLUSIVE MODE")
        step = threading.Thread(target=erasures.advance, args=(erasure.id,))
        step.start()
        victim = None
        while victim is None:
            victim = holder.execute("SELECT pid FROM pg_locks WHERE NOT granted AND relation IS NOT NULL").fetchone()
        holder.execute("SELECT pg_terminate_backend(%s)", victim)
        holder.rollback()
        step.join(timeout=120)

    waiting = shown(erasure)
    assert (waiting.state, waiting.certificate) == ("running", None)
    assert "Postgres" in waiting.trouble
    assert len(feedback_log()) == 2
    done = finish(erasure)
    assert (done.trouble, done.certificate.events) == (None, 1)
    assert tables_with(SECRET) == []


def test_a_message_that_was_lost_is_sent_again_by_the_tick():
    store(DESK, [thumb("eve", "c1")])
    erasure = ask()
    execute("DELETE FROM outbox")

    loop.tick()
    assert _requested() == []  # not yet: a worker may be busy with it
    execute("UPDATE erasures SET next_attempt_at = now()")
    with transaction() as session:
        erasures.ring_due(session)

    assert _requested() == [erasure.id]


def _requested() -> list[UUID]:
    return [UUID(one) for (one,) in execute("SELECT arguments ->> 'erasure_id' FROM outbox WHERE task LIKE '%erase'")]


def test_two_workers_do_not_do_the_same_step_twice():
    store(DESK, [thumb("eve", "c1")])
    erasure = ask()

    with psycopg.connect(settings.current().need_libpq_database()) as other:
        other.execute("SELECT 1 FROM erasures FOR UPDATE")
        erasures.advance(erasure.id)

    assert shown(erasure).state == "pending"
    assert len(feedback_log()) == 1


def test_an_erasure_that_goes_wrong_again_and_again_is_failed_and_goes_on_when_it_is_requested_again():
    store(DESK, [thumb("eve", "c1", **texts(1, SECRET))])
    erasure = ask()
    for _ in ("log", "events", "completions"):
        erasures.advance(erasure.id)
    execute("ALTER TABLE label_suspicions RENAME TO misplaced")
    try:
        for _ in range(MOST_ATTEMPTS):
            assert shown(erasure).state == "running"
            erasures.advance(erasure.id)
        failed = shown(erasure)
        cause = 'Step labels: UndefinedTable: SQLSTATE 42P01, relation "label_suspicions" does not exist.'
        assert (failed.state, failed.trouble) == ("failed", cause)
        assert "send the same request again" in failed.remedy
        erasures.advance(erasure.id)
        assert shown(erasure) == failed
    finally:
        execute("ALTER TABLE misplaced RENAME TO label_suspicions")

    assert (ask().id, ask().state) == (erasure.id, "pending")
    assert finish(erasure).certificate.events == 1
