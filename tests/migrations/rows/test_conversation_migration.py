"""A project of the version before conversations is migrated with its log, and back."""

import json
from collections.abc import Iterator

import psycopg
import pytest
from alembic import command

from app import database as app_database
from app.cli.migrate import configuration
from app.database import transaction
from app.snapshots.prompts import service as prompts
from tests.conftest import Servers
from tests.older_database import older_database

BEFORE = "0020"
CHAT = [
    {"role": "user", "content": "Where is my parcel with the number 1042?"},
    {"role": "assistant", "content": "It left our warehouse this morning and arrives tomorrow before noon."},
    {"role": "user", "content": "And what if nobody is at home?"},
]


@pytest.fixture
def older(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of a database at the version before conversations."""
    with older_database(servers, monkeypatch, BEFORE) as url:
        yield url


def test_the_log_of_an_older_version_is_looked_through_again_and_keeps_its_rows_in_both_directions(older: str) -> None:
    with psycopg.connect(older, autocommit=True) as connection:
        connection.execute("INSERT INTO projects VALUES ('desk', '/m', '{}', now())")
        connection.execute("ALTER TABLE projects ADD COLUMN split_key text")  # today's code reads it
        for position, prompt in enumerate((CHAT, CHAT[:1]), 1):
            connection.execute(
                """INSERT INTO events (project_id, position, received_at, event_id, completion_id, actor, signal,
                                       prompt, completion, metadata)
                   VALUES ('desk', %s, now(), %s, %s, 'ann', '{"kind": "copy"}', %s, 'Ho', '{}')""",
                (position, f"e{position}", f"c{position}", json.dumps(prompt)),
            )
        connection.execute(
            """INSERT INTO completions (project_id, completion_id, position, received_at, prompt, completion, sampling,
                                        metadata)
               VALUES ('desk', 'c3', 3, now(), '"Hi"', 'Ho', '{}', '{}')"""
        )
        connection.execute("INSERT INTO prompts_placed VALUES ('desk', 3)")

    command.upgrade(configuration(), "0021")

    with transaction() as session:
        assert prompts.place(session, "desk", 3) == 3
        joins = prompts.placed_up_to(session, "desk", 3).sides.joins
    assert joins.position.tolist() == [2]
    with psycopg.connect(older, autocommit=True) as connection:
        rows = connection.execute(
            "SELECT event_id, position, completion, conversation_id FROM events ORDER BY position"
        )
        assert rows.fetchall() == [("e1", 1, "Ho", None), ("e2", 2, "Ho", None)]
        connection.execute(
            """INSERT INTO events (project_id, position, received_at, event_id, completion_id, actor, signal, metadata,
                                   conversation_id)
               VALUES ('desk', 4, now(), 'e4', 'c3', 'ann', '{"kind": "copy"}', '{}', 'chat-1')"""
        )

    app_database.engine().dispose()
    command.downgrade(configuration(), BEFORE)

    with psycopg.connect(older, autocommit=True) as connection:
        back = connection.execute("SELECT event_id, position FROM events ORDER BY position")
        assert back.fetchall() == [("e1", 1), ("e2", 2), ("e4", 4)]
        assert connection.execute("SELECT completion_id FROM completions").fetchall() == [("c3",)]

    command.upgrade(configuration(), "0021")

    with transaction() as session:
        assert prompts.place(session, "desk", 4) == 3
