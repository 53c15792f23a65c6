"""The migration completes the ledger of an older project with its first checkpoint and release."""

from datetime import UTC, datetime

import psycopg
import pytest
from alembic import command

from app.cli.migrate import configuration
from app.database import transaction
from app.releases import service as releases
from tests.older_database import older_database

BEFORE, AFTER = "0024", "0025"
PROJECT = "INSERT INTO projects (id, base_model, configuration, created_at) VALUES (%s, '/m', '{}', '2026-01-01Z')"
BASE = (
    "INSERT INTO checkpoints (id, project_id, kind, base_model, verdict, reasons, files, scores, manifest, created_at) "
    "VALUES (gen_random_uuid(), %s, 'base', '/m', 'base', '[]', '{}', '{}', '{}', now())"
)
FIRST = (
    "INSERT INTO releases (id, project_id, number, checkpoint_id, verdict, action, reason, by, created_at) "
    "SELECT gen_random_uuid(), project_id, 1, id, 'base', 'start', 'as it was', 'thumbwheel', now() FROM checkpoints "
    "WHERE project_id = %s"
)


@pytest.fixture
def older(servers, monkeypatch):
    with older_database(servers, monkeypatch, BEFORE) as url, psycopg.connect(url, autocommit=True) as connection:
        yield connection


def ledgers(connection):
    rows = connection.execute(
        "SELECT r.project_id, number, action, reason, kind, base_model FROM releases r "
        "JOIN checkpoints c ON c.id = checkpoint_id ORDER BY 1, 2"
    )
    return rows.fetchall()


def test_the_migration_completes_what_is_missing_and_keeps_what_is_there_in_both_directions(older):
    for project in ("new", "with-checkpoint", "with-release"):
        older.execute(PROJECT, [project])
    for project in ("with-checkpoint", "with-release"):
        older.execute(BASE, [project])
    older.execute(FIRST, ["with-release"])

    command.upgrade(configuration(), AFTER)

    after = ledgers(older)
    assert after == [
        ("new", 1, "start", "the project's base model", "base", "/m"),
        ("with-checkpoint", 1, "start", "the project's base model", "base", "/m"),
        ("with-release", 1, "start", "as it was", "base", "/m"),
    ]
    assert older.execute("SELECT count(*) FROM checkpoints").fetchone() == (3,)

    command.downgrade(configuration(), BEFORE)
    command.upgrade(configuration(), AFTER)

    assert ledgers(older) == after
    command.upgrade(configuration(), "head")
    with transaction(read_only=True) as session:
        assert releases.current(session, "new").created_at == datetime(2026, 1, 1, tzinfo=UTC)
