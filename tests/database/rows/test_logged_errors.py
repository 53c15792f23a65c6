"""Errors of Postgres in the log state the cause and quote no text of users."""

import asyncio
import io
import logging

import psycopg
import pytest
from adbc_driver_manager import Error as ArrowError
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from app import settings, telemetry
from app.arrow_queries import arrow, literal
from app.database import engine, transaction
from app.errors import Invalid, ThumbwheelError
from app.feedback.ingest.entries import IngestEntry
from app.feedback.ingest.group_commit import intake
from app.feedback.ingest.kinds import EVENTS
from tests.desk import DESK, execute, make_project
from tests.logged import record
from tests.privacy.rows.test_erasures import thumb

SECRET = "the parcel of Eve Adams at 7 Elm Street"
REFUSALS = {
    "a unique violation": ("UniqueViolation", "SQLSTATE 23505"),
    "a data exception": ("InvalidTextRepresentation", "SQLSTATE 22P02"),
    "a CHECK violation": ("CheckViolation", "SQLSTATE 23514"),
}


@pytest.fixture
def logged(database):
    """Yields a function that returns the log of this process so far, including tracebacks."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(telemetry.JsonLines())
    logging.root.addHandler(handler)
    yield written.getvalue
    logging.root.removeHandler(handler)


@pytest.fixture
def refusing(database):
    """A feedback log that refuses completions in one of three ways, chosen by their `metadata`."""
    make_project()
    execute("""
        CREATE FUNCTION refuse_somehow() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF NEW.metadata ->> 'as' = 'a data exception' THEN
                PERFORM NEW.completion::integer;
            ELSIF NEW.metadata ->> 'as' = 'a unique violation' THEN
                INSERT INTO refusals VALUES (NEW.completion), (NEW.completion);
            ELSE
                INSERT INTO refusals VALUES (NEW.completion || ' is checked');
            END IF;
            RETURN NEW;
        END $$
    """)
    execute("CREATE TABLE refusals (words text UNIQUE CHECK (words NOT LIKE '%checked'))")
    execute("CREATE TRIGGER refuse_somehow BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION refuse_somehow()")
    yield
    execute("DROP TRIGGER refuse_somehow ON events")
    execute("DROP FUNCTION refuse_somehow()")
    execute("DROP TABLE refusals")


def event(refusal: str) -> dict[str, object]:
    texts = {"prompt": SECRET, "completion": SECRET}
    return thumb("eve", "c1", metadata={"as": refusal}, **texts) | {"event_id": SECRET}


@pytest.mark.parametrize("refusal", REFUSALS)
def test_an_event_that_postgres_refuses_is_not_quoted_in_the_log(refusing, logged, refusal):
    [answer] = record(DESK, [event(refusal)])

    assert isinstance(answer, Invalid)
    log = logged()
    assert REFUSALS[refusal][1] in log
    assert SECRET not in log


def test_the_log_of_our_own_postgres_quotes_no_event_that_it_refuses(refusing, servers):
    for refusal in REFUSALS:
        record(DESK, [event(refusal)])

    assert SECRET not in (servers.folder / "postgres" / "log").read_text()


@pytest.mark.parametrize("refusal", REFUSALS)
def test_an_error_of_a_transaction_is_not_quoted_in_the_log(refusing, logged, refusal):
    insert = text("""
        INSERT INTO events (project_id, event_id, completion_id, actor, signal, completion, metadata, position,
                            received_at)
        VALUES ('desk', :words, 'c1', 'eve', '{}', :words, json_build_object('as', CAST(:refusal AS text)), 1, now())
    """)
    with pytest.raises(DBAPIError) as raised, transaction() as session:
        session.execute(insert, {"words": SECRET, "refusal": refusal})

    logging.getLogger("app.somewhere").error("it went wrong: %s", raised.value, exc_info=raised.value)

    log = logged()
    assert REFUSALS[refusal][0] in log
    assert REFUSALS[refusal][1] in log
    assert SECRET not in log


def test_a_value_that_cannot_even_be_sent_is_not_quoted_in_the_log(database, logged):
    make_project()
    no_uuid = SECRET
    row = (DESK, "e1", "c1", "eve", "{}", None, None, SECRET, no_uuid, None, None, None, "{}", False, None, None, None)

    async def send() -> list[object]:
        async with intake(settings.current().need_libpq_database()) as way_in:
            return await way_in.record(EVENTS, [IngestEntry(row, None)])

    [answer] = asyncio.run(send())

    assert isinstance(answer, ThumbwheelError)
    log = logged()
    assert "DataError" in log
    assert SECRET not in log


def test_an_event_that_the_whole_batch_fails_of_is_not_quoted_in_the_log(database, logged):
    make_project()
    execute("ALTER TABLE events RENAME TO misplaced")
    try:
        with pytest.raises(Exception, match="does not exist"):
            record(DESK, [event("a unique violation")])
    finally:
        execute("ALTER TABLE misplaced RENAME TO events")

    log = logged()
    assert "events were not stored" in log
    assert SECRET not in log


def test_a_query_over_whole_tables_is_not_quoted_in_the_log(database, logged):
    with pytest.raises(ArrowError) as raised, transaction() as session:
        list(arrow(session, f"SELECT CAST({literal(SECRET)} AS integer)"))

    logging.getLogger("app.somewhere").error("it went wrong", exc_info=raised.value)

    log = logged()
    assert "SQLSTATE 22P02" in log
    assert SECRET not in log


def test_a_query_over_whole_tables_whose_server_goes_away_is_not_quoted_in_the_log(database, logged):
    query = f"SELECT {literal(SECRET)}, pg_terminate_backend(pg_backend_pid()) FROM generate_series(1, 9)"
    with pytest.raises(ThumbwheelError) as raised, transaction() as session:
        list(arrow(session, query))

    logging.getLogger("app.somewhere").error("it went wrong", exc_info=raised.value)

    assert SECRET not in logged()


def test_an_error_that_was_hidden_already_says_the_same_again(database, logged):
    with pytest.raises(DBAPIError) as raised, engine().connect() as connection:
        connection.execute(text("SELECT FROM nowhere"))
    assert str(raised.value).count("SQLSTATE 42P01") == 1
    assert isinstance(raised.value.orig, psycopg.errors.UndefinedTable)
    assert 'relation "nowhere" does not exist' in str(raised.value)
