"""A separate database at an older schema version, for tests of migrations."""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import psycopg
import pytest
from alembic import command
from psycopg import sql

from app import database as app_database
from app import settings
from app.cli.migrate import configuration
from tests.conftest import Servers, forget_settings


@contextmanager
def older_database(servers: Servers, monkeypatch: pytest.MonkeyPatch, revision: str) -> Iterator[str]:
    """Yields the URL of the database. `app.database` uses it until the block ends."""
    name = f"older_{uuid4().hex}"
    with psycopg.connect(servers.database_url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    url = servers.database_url.rpartition("/")[0] + f"/{name}"
    app_database.engine().dispose()
    monkeypatch.setenv("THUMBWHEEL_DATABASE_URL", url)
    forget_settings()
    command.upgrade(configuration(), revision)
    yield url
    app_database.engine().dispose()
    monkeypatch.undo()
    forget_settings()
    assert settings.current().database_url is not None
    with psycopg.connect(servers.database_url, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
