"""The migration adds suites without adopting any for the projects that exist, and leaves their runs without suites."""

import json

import psycopg
import pytest
from alembic import command

from app.cli.migrate import configuration
from app.database import transaction
from app.suites.versions import service as suites
from tests.bare_project import CONFIGURATION
from tests.older_database import older_database

BEFORE, AFTER = "0026", "0027"
PROJECT = "INSERT INTO projects (id, base_model, configuration, created_at) VALUES ('old', '/m', %s, now())"
CHECKPOINT = (
    "INSERT INTO checkpoints (id, project_id, kind, base_model, verdict, reasons, files, scores, manifest, created_at) "
    "VALUES (gen_random_uuid(), 'old', 'base', '/m', 'base', '[]', '{}', '{}', '{}', now())"
)
RUN = (
    "INSERT INTO runs (id, project_id, state, trigger, configuration, recipe, watermark, reference_checkpoint_id, "
    "created_at, lease_epoch, lost, rung_at, phase_done, phase_total, warnings) SELECT gen_random_uuid(), 'old', "
    "'failed', 'x', '{}', '{}', 0, id, now(), 0, 0, now(), 0, 0, '[]' FROM checkpoints"
)


@pytest.fixture
def older(servers, monkeypatch):
    with older_database(servers, monkeypatch, BEFORE) as url, psycopg.connect(url, autocommit=True) as connection:
        yield connection


def test_older_projects_adopt_no_suite_and_the_way_back_leaves_nothing_behind(older):
    older.execute(PROJECT, [json.dumps(CONFIGURATION)])
    older.execute(CHECKPOINT)
    older.execute(RUN)
    tables = "SELECT relname FROM pg_class WHERE relname LIKE 'suite%' OR relname LIKE 'ix_suite%'"

    command.upgrade(configuration(), AFTER)

    assert older.execute("SELECT suites FROM runs").fetchall() == [([],)]
    command.upgrade(configuration(), "head")  # the code below expects the newest schema
    with transaction() as session:
        assert suites.adopted(session, "old") == []

    command.downgrade(configuration(), BEFORE)
    assert older.execute(tables).fetchall() == []
    assert older.execute("SELECT count(*) FROM runs").fetchone() == (1,)

    command.upgrade(configuration(), AFTER)
    assert older.execute("SELECT suites FROM runs").fetchall() == [([],)]
