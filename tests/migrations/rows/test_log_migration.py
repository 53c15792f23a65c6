"""The migration of an older log to monthly partitions keeps every event, in both directions."""

import json
from collections.abc import Iterator

import psycopg
import pytest
from alembic import command

from app.cli.migrate import configuration
from tests.conftest import Servers
from tests.older_database import older_database


@pytest.fixture
def older(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of a database at the version before months."""
    with older_database(servers, monkeypatch, "0002") as url:
        yield url


def test_events_of_an_older_version_are_kept_with_their_places_in_both_directions(older: str) -> None:
    with psycopg.connect(older, autocommit=True) as connection:
        connection.execute("INSERT INTO projects VALUES ('desk', '/m', '{}', now())")
        for number, received in enumerate(
            ("2025-11-30 23:59:59+00", "2026-02-01 00:00:00+00", "2026-02-03 00:00:00+00")
        ):
            connection.execute(
                """INSERT INTO events (project_id, event_id, received_at, occurred_at, completion_id, actor, signal,
                                       prompt, completion, metadata, body_sha256)
                   VALUES ('desk', %s, %s, %s, 'c', 'ann', %s, %s, 'Ho', '{}', '')""",
                (f"e{number}", received, received, json.dumps({"kind": "copy"}), json.dumps("Hi")),
            )

    command.upgrade(configuration(), "0003")

    with psycopg.connect(older, autocommit=True) as connection:
        kept = connection.execute(
            "SELECT event_id, position, tableoid::regclass::text, occurred_at, prompt FROM events ORDER BY position"
        ).fetchall()
        assert kept == [
            ("e0", 1, "events_2025_11", None, "Hi"),
            ("e1", 2, "events_2026_02", None, "Hi"),
            ("e2", 3, "events_2026_02", None, "Hi"),
        ]
        assert connection.execute("SELECT event_id, position FROM event_ids ORDER BY 2").fetchall() == [
            (event_id, position) for event_id, position, *_ in kept
        ]
        assert connection.execute("SELECT nextval('log_positions')").fetchone() == (4,)

    command.downgrade(configuration(), "0002")

    with psycopg.connect(older, autocommit=True) as connection:
        back = connection.execute("SELECT event_id, position, occurred_at = received_at FROM events ORDER BY 2")
        assert back.fetchall() == [("e0", 1, True), ("e1", 2, True), ("e2", 3, True)]


def test_events_keep_what_they_say_with_their_origin_and_back(older: str) -> None:
    command.upgrade(configuration(), "0021")
    event = """INSERT INTO events (project_id, event_id, position, received_at, completion_id, actor, signal, metadata)
               VALUES ('desk', %s, %s, '2026-02-01 00:00:00+00', 'c', 'ann', '{"kind": "copy"}', '{}')"""
    with psycopg.connect(older, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO projects (id, base_model, configuration, created_at) VALUES ('desk', '/m', '{}', now())"
        )
        connection.execute(event, ("e1", 1))

    command.upgrade(configuration(), "0022")

    with psycopg.connect(older, autocommit=True) as connection:
        connection.execute("ALTER TABLE events DISABLE TRIGGER USER")
        connection.execute(event, ("e2", 2))
        connection.execute("UPDATE events SET origin = 'import' WHERE event_id = 'e2'")
        kept = connection.execute("SELECT event_id, origin FROM events ORDER BY position").fetchall()
        assert kept == [("e1", None), ("e2", "import")]

    command.downgrade(configuration(), "0021")

    with psycopg.connect(older, autocommit=True) as connection:
        back = connection.execute("SELECT event_id, signal ->> 'kind' FROM events ORDER BY position").fetchall()
        assert back == [("e1", "copy"), ("e2", "copy")]

    command.upgrade(configuration(), "0022")

    with psycopg.connect(older, autocommit=True) as connection:
        assert connection.execute("SELECT count(*) FROM events WHERE origin IS NULL").fetchone() == (2,)
