"""The migration gives projects settings on redaction, and takes them away without losing feedback or erasures."""

import json
from collections.abc import Iterator

import psycopg
import pytest
from alembic import command

from app.cli.migrate import configuration
from tests.bare_project import CONFIGURATION
from tests.conftest import Servers
from tests.older_database import older_database

BEFORE, AFTER = "0039", "0040"


@pytest.fixture
def older(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> Iterator[psycopg.Connection]:
    with older_database(servers, monkeypatch, BEFORE) as url, psycopg.connect(url, autocommit=True) as connection:
        yield connection


def test_erasures_and_decisions_stay_in_both_directions_and_a_pseudonym_frees_its_decision(
    older: psycopg.Connection,
) -> None:
    older.execute(
        "INSERT INTO projects (id, base_model, configuration, created_at) VALUES ('p', '/m', %s, now())",
        [json.dumps(CONFIGURATION)],
    )
    older.execute(
        "INSERT INTO erasures (id, project_id, actor_sha256, actor, state, step, requested_at, requested_by, attempts, "
        "next_attempt_at, certificate) VALUES (gen_random_uuid(), 'p', 'd', 'eve', 'running', 'log', now(), 'x', 0, "
        "now(), '{}')"
    )
    for number, actor in enumerate(("h_1", "ann", "eve"), 1):
        older.execute(
            "INSERT INTO quarantine_decisions (project_id, number, actor, decision, reason, by, at) "
            "VALUES ('p', %s, %s, 'confirmed', '', 'x', now())",
            [number, actor],
        )

    command.upgrade(configuration(), AFTER)

    older.execute("UPDATE erasures SET pseudonym = 'h_1'")
    older.execute("DELETE FROM quarantine_decisions WHERE actor IN ('h_1')")
    with pytest.raises(psycopg.errors.RestrictViolation):
        older.execute("DELETE FROM quarantine_decisions WHERE actor = 'ann'")
    assert older.execute("SELECT require_protections('{p}', '{NULL}')").fetchone() == (True,)
    older.execute("INSERT INTO protections VALUES (gen_random_uuid(), 'p', 1, 'off', '{}', false, now())")
    with pytest.raises(psycopg.errors.Error) as caught:
        older.execute("SELECT require_protections('{p}', '{NULL}')")
    assert caught.value.sqlstate == "TW001"

    command.downgrade(configuration(), BEFORE)

    assert older.execute("SELECT actor, state FROM erasures").fetchall() == [("eve", "running")]
    older.execute("DELETE FROM quarantine_decisions WHERE actor = 'eve'")
    assert older.execute("SELECT actor FROM quarantine_decisions").fetchall() == [("ann",)]
    command.upgrade(configuration(), AFTER)
