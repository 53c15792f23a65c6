"""The migration keeps what was seen of the live checkpoint, both ways; the canary's is forgotten on the way back."""

import json

import psycopg
import pytest
from alembic import command

from app.cli.migrate import configuration
from tests.bare_project import CONFIGURATION
from tests.older_database import older_database

BEFORE, AFTER = "0034", "0035"
PROJECT = "INSERT INTO projects (id, base_model, configuration, created_at) VALUES ('old', '/m', %s, now())"
CHECKPOINT = (
    "INSERT INTO checkpoints (id, project_id, kind, base_model, verdict, reasons, files, scores, manifest, created_at) "
    "VALUES (gen_random_uuid(), 'old', 'base', '/m', 'base', '[]', '{}', '{}', '{}', now())"
)
TARGET = (
    "INSERT INTO serving_targets (id, project_id, name, settings, enabled, created_at, created_by, state, reason, "
    "seen_checkpoint_id, seen, seen_at, probe, attempts, next_try_at, lease_epoch) "
    'SELECT gen_random_uuid(), \'old\', %s, \'{"kind": "folder", "publish_folder": "/srv"}\', true, now(), \'key\', '
    "%s, %s, seen.id, seen.document, now(), seen.probe, %s, now(), 0 FROM ("
    'SELECT id, \'{"model": "m"}\'::jsonb AS document, \'{"verdict": "ok"}\'::jsonb AS probe FROM checkpoints) '
    "AS seen"
)
SEEN = "state, reason, seen_checkpoint_id, seen, seen_at, probe, attempts"


@pytest.fixture
def older(servers, monkeypatch):
    with older_database(servers, monkeypatch, BEFORE) as url, psycopg.connect(url, autocommit=True) as connection:
        yield connection


def test_what_was_seen_of_the_live_checkpoint_survives_the_way_there_and_back(older):
    older.execute(PROJECT, [json.dumps(CONFIGURATION)])
    older.execute(CHECKPOINT)
    older.execute(TARGET, ["gpu", "failed", "it answered 500", 3])
    older.execute(TARGET, ["untouched", "new", None, 0])
    query = "SELECT {} FROM {} ORDER BY attempts DESC"
    before = older.execute(query.format(SEEN, "serving_targets")).fetchall()

    command.upgrade(configuration(), AFTER)

    assert older.execute(query.format(SEEN, "serving_sightings")).fetchall() == before[:1]
    assert older.execute("SELECT role FROM serving_sightings").fetchall() == [("live",)]
    older.execute(
        "INSERT INTO serving_sightings (target_id, role, state, attempts) "
        "SELECT target_id, 'canary', 'left_out', 0 FROM serving_sightings"
    )

    command.downgrade(configuration(), BEFORE)

    after = older.execute(query.format(SEEN, "serving_targets")).fetchall()
    assert after[0] == before[0]
    assert (after[1][0], after[1][-1]) == ("new", 0)
    command.upgrade(configuration(), AFTER)
    older.execute("DELETE FROM serving_targets")
    assert older.execute("SELECT count(*) FROM serving_sightings").fetchone() == (0,)
