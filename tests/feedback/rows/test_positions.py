"""Positions in the log: each project has its own sequence, which reveals nothing about other projects."""

from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest
from alembic import command
from psycopg import sql

from app.cli.migrate import configuration
from app.database import transaction
from app.feedback import service as feedback
from tests.conftest import Servers, forget_settings
from tests.desk import DESK, execute, make_project
from tests.logged import record, register, store
from tests.privacy.rows.test_erasures import thumb


def positions(project: str = DESK) -> list[int]:
    """Returns the positions of the project's events, newest first. It works with every version of the database."""
    rows = execute("SELECT position FROM events WHERE project_id = :project ORDER BY position DESC", project=project)
    return [position for (position,) in rows]


def test_what_others_store_moves_no_position_and_no_watermark(database):
    make_project()
    make_project("other")
    store(DESK, [thumb("ann", "c1")])
    store("other", [thumb("ann", f"c{number}") for number in range(50)])
    register("other", "c1", {"prompt": "Hi", "completion": "Ho"})
    register(DESK, "c1", {"prompt": "Hi", "completion": "Ho"})
    store(DESK, [thumb("ann", "c2")])

    assert positions() == [3, 1]
    assert positions("other") == list(range(50, 0, -1))
    with transaction() as session:
        assert feedback.watermark(session, DESK) == 3
        assert feedback.watermark(session, "other") == 51


def test_events_of_several_projects_in_one_transaction_keep_apart(database):
    make_project()
    make_project("other")
    first = record(DESK, [thumb("ann", f"c{number}") for number in range(3)])
    assert {answer.status for answer in first} == {"stored"}
    again = record("other", [thumb("ann", "c9"), thumb("ann", "c9"), thumb("ann", "c10")])

    assert [answer.status for answer in again] == ["stored", "replayed", "stored"]
    assert len(positions("other")) == 2


def test_project_ids_as_long_as_an_identifier_have_a_sequence_each(database):
    longest = ["a" * 62 + end for end in "xy"]
    for project in longest:
        make_project(project)
        store(project, [thumb("ann", "c1")])

    assert [positions(project) for project in longest] == [[1], [1]]


@pytest.fixture
def older(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A separate database at the version with one sequence for all projects, with feedback of two projects."""
    name = f"older_{uuid4().hex}"
    with psycopg.connect(servers.database_url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    url = servers.database_url.rpartition("/")[0] + f"/{name}"
    monkeypatch.setenv("THUMBWHEEL_DATABASE_URL", url)
    forget_settings()
    command.upgrade(configuration(), "0019")
    with psycopg.connect(url, autocommit=True) as connection:
        for project in ("desk", "other"):
            connection.execute("INSERT INTO projects VALUES (%s, '/m', '{}', now())", [project])
        for number, project in enumerate(["desk", "other", "other"]):
            connection.execute(
                """
                WITH drawn AS (SELECT nextval('log_positions') AS position), taken AS (
                    INSERT INTO event_ids SELECT %(project)s, %(id)s, position, now() FROM drawn)
                INSERT INTO events (project_id, event_id, completion_id, actor, signal, metadata, position, received_at)
                SELECT %(project)s, %(id)s, 'c', 'ann', '{"kind": "copy"}', '{}', position, now() FROM drawn
                """,
                {"project": project, "id": f"e{number}"},
            )
    yield url
    monkeypatch.undo()
    forget_settings()
    with psycopg.connect(servers.database_url, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(name)))


def test_logs_of_an_older_version_go_on_behind_their_positions_in_both_directions(older: str):
    assert (positions("desk"), positions("other")) == ([1], [3, 2])

    command.upgrade(configuration(), "head")

    store("desk", [thumb("ann", "c1"), thumb("ann", "c2")])
    store("other", [thumb("ann", "c1")])
    [second, first, kept] = positions("desk")
    assert (second - first, kept) == (1, 1)
    assert first > 3
    assert positions("other")[0] == first
    make_project("new")
    store("new", [thumb("ann", "c1")])
    assert positions("new") == [1]

    command.downgrade(configuration(), "0019")

    with psycopg.connect(older) as connection:
        assert connection.execute("SELECT nextval('log_positions')").fetchone() == (second + 1,)
        left = connection.execute("SELECT count(*) FROM pg_sequences WHERE sequencename LIKE 'log_positions_%'")
        assert left.fetchone() == (0,)
    command.upgrade(configuration(), "head")
    store("new", [thumb("ann", "c2")])
    assert positions("new")[0] > second


def test_a_migration_that_failed_halfway_goes_on_at_the_next_attempt(older: str):
    with psycopg.connect(older, autocommit=True) as connection:
        connection.execute("CREATE FUNCTION begin_log() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'")
        connection.execute("CREATE TRIGGER begin_log AFTER INSERT ON projects EXECUTE FUNCTION begin_log()")
    with pytest.raises(Exception, match="already exists"):
        command.upgrade(configuration(), "head")
    with psycopg.connect(older, autocommit=True) as connection:
        connection.execute("SELECT nextval('log_positions')")
        connection.execute("DROP TRIGGER begin_log ON projects")

    command.upgrade(configuration(), "head")

    store("desk", [thumb("ann", "c1")])
    assert len(positions("desk")) == 2
    assert execute("SELECT to_regclass('log_positions') IS NULL") == [(True,)]
