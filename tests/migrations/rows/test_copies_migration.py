"""Tombstones of copied erasures, in both directions."""

import hashlib
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from alembic import command

from app.cli.migrate import configuration
from tests.conftest import Servers
from tests.older_database import older_database

BEFORE, HERE = "0039", "0043"


@pytest.fixture
def older(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> Iterator[psycopg.Connection]:
    with older_database(servers, monkeypatch, BEFORE) as url, psycopg.connect(url, autocommit=True) as connection:
        yield connection


def put_tombstone(connection: psycopg.Connection, text: bytes) -> None:
    digest = hashlib.sha256(text).digest()
    connection.execute("INSERT INTO tombstones VALUES ('desk', %s, now())", (digest,))


def erased(connection: psycopg.Connection) -> Any:
    query = "SELECT erased_actors(ARRAY['desk', 'desk', 'shop', 'desk'], ARRAY['ann', 'bob', 'bob', 'cy'])"
    return connection.execute(query).fetchone()


def test_only_this_version_knows_tombstones_of_another_project(older: psycopg.Connection) -> None:
    older.execute("INSERT INTO projects (id, base_model, configuration, created_at) VALUES ('desk', '/m', '{}', now())")
    put_tombstone(older, b"desk\0ann")
    put_tombstone(older, b"old desk\0bob")
    assert erased(older) == ([1],)

    command.upgrade(configuration(), HERE)
    assert erased(older) == ([1],)
    older.execute("INSERT INTO tombstone_names VALUES ('desk', 'old desk')")
    assert erased(older) == ([1, 2],)

    command.downgrade(configuration(), BEFORE)
    assert erased(older) == ([1],)
    command.upgrade(configuration(), HERE)
