"""The feedback log: events are acknowledged after the commit, compared with stored ones, and covered by a watermark."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import asyncpg
import psycopg
import pytest
from sqlalchemy import text
from thumbwheel import wire

from app import settings
from app.database import transaction
from app.errors import Invalid, NotFound, Unavailable
from app.feedback import service
from app.feedback.ingest import append
from app.feedback.ingest.entries import IngestEntry, event_entry
from app.feedback.ingest.group_commit import MOST_BODIES, Intake
from app.feedback.ingest.kinds import EVENTS, BodyOutcome
from app.projects.tables import Project
from tests.bare_project import CONFIGURATION
from tests.logged import Answer, record, register

P = "desk"


@pytest.fixture
def project(database) -> str:
    with transaction() as session:
        session.add(Project(id=P, base_model="/models/base", configuration=CONFIGURATION))
    return P


def thumb(completion_id: str = "c1", value: str = "up", **more) -> dict:
    return {"completion_id": completion_id, "actor": "ann", "signal": {"kind": "thumbs", "value": value}, **more}


def entry(**more) -> IngestEntry:
    return event_entry(P, wire.Event.model_validate(thumb(**more)))


def one(body: dict) -> BodyOutcome:
    [answer] = record(P, [body])
    assert isinstance(answer, BodyOutcome), answer
    return answer


def log(**filters) -> list[wire.StoredEvent]:
    with transaction() as session:
        return service.page(session, P, **filters).items


def url() -> str:
    return settings.current().need_libpq_database()


def test_an_event_is_stored_as_it_was_sent(project):
    prompt = [{"role": "user", "content": "Où est mon colis ? 📦"}]
    sent = thumb(
        event_id="e1", prompt=prompt, completion="Demain.", occurred_at="2026-01-02T03:04:05.678901+02:00",
        checkpoint_id="01890a5d-ac96-774b-bcce-b302099a8057", metadata={"page": 3, "deep": {"x": [1.5, None, 1e23]}},
    )  # fmt: skip

    assert one(sent).status == "stored"

    [stored] = log()
    assert (stored.event_id, stored.position, stored.prompt, stored.completion) == ("e1", 1, prompt, "Demain.")
    assert stored.occurred_at.isoformat() == "2026-01-02T01:04:05.678901+00:00"
    assert str(stored.checkpoint_id) == sent["checkpoint_id"]
    assert stored.metadata == sent["metadata"]


def test_an_identical_retry_stores_nothing(project):
    one(thumb(event_id="e1", metadata={"a": 1, "b": 2}))

    again = one(thumb(event_id="e1", metadata={"b": 2, "a": 1}))

    assert again.status == "replayed"
    assert len(log()) == 1


def test_another_body_under_the_same_id_is_a_conflict_that_names_the_fields(project):
    one(thumb(event_id="e1", metadata={"page": 1, "same": True}))

    answer = one(thumb(event_id="e1", value="down", metadata={"page": 2, "same": True}))

    assert answer == BodyOutcome("e1", "conflict", ("/metadata/page", "/signal/value"))
    assert [event.signal["value"] for event in log()] == ["up"]


def test_a_time_that_was_not_sent_differs_from_one_that_was(project):
    one(thumb(event_id="e1"))

    assert one(thumb(event_id="e1", occurred_at="2026-01-01T00:00:00Z")).differs == ("/occurred_at",)


def test_without_an_event_id_a_retry_is_known_by_what_it_says(project):
    first, retry, other = one(thumb()), one(thumb()), one(thumb(value="down"))

    assert (first.status, retry.status, other.status) == ("stored", "replayed", "stored")
    assert first.id == retry.id != other.id


def test_an_edit_that_changed_nothing_is_stored_as_accept_also_when_it_is_sent_again(project):
    unchanged = thumb(event_id="e1", prompt="Hi", completion="Ho", signal={"kind": "edit", "text": "Ho"})

    assert (one(unchanged).status, one(unchanged).status) == ("stored", "replayed")
    assert [event.signal for event in log()] == [{"kind": "accept"}]


def test_of_equal_ids_at_once_the_first_is_stored_and_the_others_are_compared_with_it(project):
    answers = record(P, [thumb(event_id="a"), thumb(event_id="a"), thumb(event_id="a", value="down")])

    assert answers == [
        BodyOutcome("a", "stored"),
        BodyOutcome("a", "replayed"),
        BodyOutcome("a", "conflict", ("/signal/value",)),
    ]
    assert len(log()) == 1


def test_many_at_once_keep_their_order_in_the_log(project):
    record(P, [thumb(event_id=f"e{9 - number}") for number in range(10)])

    assert [event.event_id for event in log()] == [f"e{number}" for number in range(10)]


def test_more_than_one_transaction_takes_are_stored_once_however_often_they_are_sent(project):
    items = [thumb(f"c{number}") for number in range(MOST_BODIES * 2 + 7)]

    first, second = record(P, items), record(P, items)

    assert {answer.status for answer in first} == {"stored"}
    assert {answer.status for answer in second} == {"replayed"}


def test_nothing_at_all_is_fine(project):
    assert record(P, []) == []


def test_two_projects_may_use_the_same_event_id(project):
    with transaction() as session:
        session.add(Project(id="other", base_model="/models/base", configuration=CONFIGURATION))

    assert one(thumb(event_id="e1")).status == "stored"
    assert record("other", [thumb(event_id="e1")]) == [BodyOutcome("e1", "stored")]


def test_an_id_is_unique_over_all_months(project):
    """An event that was received in January is sent again today."""
    one(thumb(event_id="e1"))
    with psycopg.connect(url(), autocommit=True) as connection:
        connection.execute("ALTER TABLE events DISABLE TRIGGER refuse_update")
        connection.execute("ALTER TABLE event_ids DISABLE TRIGGER refuse_update")
        connection.execute("UPDATE events SET received_at = '2020-01-15+00'")
        connection.execute("UPDATE event_ids SET received_at = '2020-01-15+00'")
        connection.execute("ALTER TABLE events ENABLE TRIGGER refuse_update")
        connection.execute("ALTER TABLE event_ids ENABLE TRIGGER refuse_update")

    assert one(thumb(event_id="e1")).status == "replayed"
    assert one(thumb(event_id="e1", value="down")).status == "conflict"


def test_months_are_made_ahead_and_once(project):
    def months() -> list[str]:
        with transaction() as session:
            query = "SELECT relid::text FROM pg_partition_tree('events') WHERE isleaf ORDER BY 1"
            return [name for (name,) in session.execute(text(query))]

    before = months()
    this_month = before.index(f"events_{datetime.now(UTC):%Y_%m}")  # copied logs make earlier ones
    with psycopg.connect(url(), autocommit=True) as connection:
        connection.execute(f"DROP TABLE {before[this_month + 1]}")
    for _ in range(2):
        with transaction() as session:
            service.keep_months_ahead(session)

    assert months() == before


def test_a_completion_is_registered_once_and_never_changed(project):
    body = {
        "prompt": [{"role": "user", "content": "Where is it?"}], "completion": "Tomorrow.",
        "sampling": {"temperature": 0.7}, "token_ids": [5, 7], "log_probs": [-0.1, -2.5e-7], "metadata": {"page": 1},
    }  # fmt: skip

    first, again = register(P, "c1", body), register(P, "c1", body)
    other = register(P, "c1", {**body, "completion": "Never.", "token_ids": None, "log_probs": None})

    assert (first, again) == (BodyOutcome("c1", "stored"), BodyOutcome("c1", "replayed"))
    assert other == BodyOutcome("c1", "conflict", ("/completion", "/log_probs", "/token_ids"))
    with transaction() as session:
        stored = service.completion(session, P, "c1")
        assert stored.model_dump(include=set(body)) == body
        with pytest.raises(NotFound):
            service.completion(session, P, "c2")


def test_pages_go_back_to_the_first_event_and_are_filtered(project):
    record(P, [thumb(f"c{number % 2}", event_id=f"e{number}", actor=f"u{number % 3}") for number in range(7)])

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


@pytest.mark.parametrize("table", ["events", "event_ids", "completions"])
def test_the_log_refuses_to_be_changed(project, table):
    one(thumb())
    register(P, "c1", {"prompt": "Hi", "completion": "Ho"})

    with pytest.raises(psycopg.errors.RestrictViolation), psycopg.connect(url()) as connection:
        connection.execute(f"UPDATE {table} SET project_id = 'other'")


# -- group commit -----------------------------------------------------------------------------------------------------


@asynccontextmanager
async def way_in(**options) -> AsyncIterator[Intake]:
    running = Intake(url(), **options)
    try:
        yield running
    finally:
        await running.close()


@asynccontextmanager
async def blocked() -> AsyncIterator[asyncpg.Connection]:
    """Holds the lock of the log, so that other writers wait until the block ends."""
    connection = await asyncpg.connect(url())
    try:
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", append.lock_key(P))
            yield connection
    finally:
        await connection.close()


async def _until_a_writer_waits(watching: asyncpg.Connection) -> None:
    for _ in range(100_000):
        if await watching.fetchval("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"):
            return
    raise AssertionError("no writer waits for the lock of the log")


def test_requests_that_come_together_share_one_transaction(project):
    async def scenario() -> None:
        async with way_in() as intake:
            await asyncio.gather(*(intake.record(EVENTS, [entry(event_id=f"e{n}")]) for n in range(64)))

    asyncio.run(scenario())

    with transaction() as session:
        assert session.execute(text("SELECT count(*), count(DISTINCT xmin::text) FROM events")).one() == (64, 1)


def test_nobody_is_answered_before_the_commit(project):
    async def scenario() -> None:
        async with way_in() as intake:
            async with blocked() as watching:
                sent = asyncio.create_task(intake.record(EVENTS, [entry(event_id="e1")]))
                await _until_a_writer_waits(watching)
                assert not sent.done()
            assert await sent == [BodyOutcome("e1", "stored")]

    asyncio.run(scenario())


def test_who_hangs_up_is_stored_all_the_same(project):
    async def scenario() -> None:
        async with way_in() as intake, blocked() as watching:
            sent = asyncio.create_task(intake.record(EVENTS, [entry(event_id="e1")]))
            await _until_a_writer_waits(watching)
            sent.cancel()

    asyncio.run(scenario())

    assert [event.event_id for event in log()] == ["e1"]


def test_a_full_queue_refuses_and_loses_nothing_that_it_took(project):
    async def scenario() -> None:
        async with way_in(room=2, writers=1) as intake:
            async with blocked() as watching:
                taken = [asyncio.create_task(intake.record(EVENTS, [entry(event_id="under way")]))]
                await _until_a_writer_waits(watching)
                taken.append(asyncio.create_task(intake.record(EVENTS, [entry(event_id="waits")])))
                await asyncio.sleep(0)
                with pytest.raises(Unavailable) as caught:
                    await intake.record(EVENTS, [entry(event_id="too many")])
                assert caught.value.code == "intake_full"
            await asyncio.gather(*taken)

    asyncio.run(scenario())

    assert {event.event_id for event in log()} == {"under way", "waits"}


def test_a_stop_stores_what_was_taken_and_takes_no_more(project):
    async def scenario() -> list[list[Answer]]:
        intake = Intake(url())
        taken = [asyncio.create_task(intake.record(EVENTS, [entry(event_id=f"e{n}")])) for n in range(1200)]
        await asyncio.sleep(0)
        await intake.close()
        with pytest.raises(Unavailable):
            await intake.record(EVENTS, [entry(event_id="late")])
        return [await task for task in taken]

    assert {answer.status for [answer] in asyncio.run(scenario())} == {"stored"}
    with transaction() as session:
        assert session.execute(text("SELECT count(*) FROM events")).scalar_one() == 1200


@pytest.fixture
def poison(project) -> Iterator[None]:
    """Makes Postgres refuse events of the actor `poison`."""
    with psycopg.connect(url(), autocommit=True) as connection:
        connection.execute("""
            CREATE FUNCTION refuse_poison() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN RAISE EXCEPTION 'poison'; END $$""")
        connection.execute("""
            CREATE TRIGGER poison BEFORE INSERT ON events FOR EACH ROW WHEN (NEW.actor = 'poison')
            EXECUTE FUNCTION refuse_poison()""")
        yield
        connection.execute("DROP TRIGGER poison ON events")
        connection.execute("DROP FUNCTION refuse_poison")


def test_a_poison_event_fails_alone(poison):
    answers = record(P, [thumb(event_id=f"e{n}", actor="poison" if n in (3, 40) else "ann") for n in range(100)])

    assert [n for n, answer in enumerate(answers) if isinstance(answer, Invalid)] == [3, 40]
    assert sum(isinstance(answer, BodyOutcome) and answer.status == "stored" for answer in answers) == 98
    with transaction() as session:
        assert session.execute(text("SELECT count(*) FROM events")).scalar_one() == 98
    assert isinstance(record(P, [thumb(event_id="e3", actor="poison")])[0], Invalid)


def test_an_event_of_a_project_that_is_not_there_fails_alone(project):
    async def scenario() -> list[Answer]:
        stray = event_entry("nobody", wire.Event.model_validate(thumb(event_id="e2")))
        async with way_in() as intake:
            return await intake.record(EVENTS, [entry(event_id="e1"), stray])

    answers = asyncio.run(scenario())

    assert answers[0] == BodyOutcome("e1", "stored")
    assert isinstance(answers[1], Invalid)


def test_while_postgres_is_away_senders_get_503_and_are_stored_later(project):
    async def scenario() -> None:
        async with way_in(writers=1) as intake:
            await intake.record(EVENTS, [entry(event_id="e1")])
            async with blocked() as watching:
                sent = asyncio.create_task(intake.record(EVENTS, [entry(event_id="e2")]))
                await _until_a_writer_waits(watching)
                await watching.execute("""
                    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                    WHERE application_name = 'thumbwheel intake'""")
                with pytest.raises(Unavailable):
                    await sent
            assert await intake.record(EVENTS, [entry(event_id="e2")]) == [BodyOutcome("e2", "stored")]

    asyncio.run(scenario())

    assert {event.event_id for event in log()} == {"e1", "e2"}


# -- the watermark ----------------------------------------------------------------------------------------------------


def test_the_watermark_is_the_newest_position(project):
    with transaction() as session:
        assert service.watermark(session, P) == 0
    record(P, [thumb(f"c{number}") for number in range(3)])
    register(P, "c1", {"prompt": "Hi", "completion": "Ho"})

    with transaction() as session:
        assert service.watermark(session, P) == 4


def test_the_watermark_waits_for_events_that_are_under_way(project):
    """The transaction of position 1 is open when position 2 is committed: the watermark must not reach 2 before 1."""

    def ask() -> int:
        with transaction() as session:
            return service.watermark(session, P)

    async def scenario() -> int:
        slow, watching = await asyncpg.connect(url()), await asyncpg.connect(url())
        await slow.execute("BEGIN")
        await append.append_events(slow, [entry(completion_id="slow").row])
        await asyncio.to_thread(one, thumb("quick"))
        asking = asyncio.create_task(asyncio.to_thread(ask))
        await _until_a_writer_waits(watching)
        assert not asking.done()
        await slow.execute("COMMIT")
        await slow.close()
        await watching.close()
        return await asking

    assert asyncio.run(scenario()) == 2
    assert {event.position for event in log()} == {1, 2}


def test_a_reader_of_the_watermark_does_not_keep_writers_waiting(project):
    with transaction() as session:
        service.watermark(session, P)
        session.execute(text("SELECT 1"))

        assert one(thumb()).status == "stored"  # in a second transaction, while this one is open


def test_the_same_event_from_many_threads_is_stored_once(project):
    statuses: list[str] = []

    def send() -> None:
        statuses.append(one(thumb(event_id="e1")).status)

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)

    assert sorted(statuses) == ["replayed"] * 7 + ["stored"]


def test_the_same_events_in_another_order_do_not_wait_in_a_circle(project):
    """The two writers send the same 200 ids in opposite orders: one of them stores each, and Postgres ends neither."""
    ids = [f"e{number}" for number in range(200)]

    async def scenario() -> list[list[Answer]]:
        async with way_in() as one_way, way_in() as other_way:
            forth = [entry(event_id=event_id) for event_id in ids]
            both = [one_way.record(EVENTS, forth), other_way.record(EVENTS, forth[::-1])]
            return list(await asyncio.gather(*both))

    first, second = asyncio.run(scenario())

    assert sorted(answer.status for answer in [*first, *second]) == ["replayed"] * 200 + ["stored"] * 200
