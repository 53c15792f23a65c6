"""The migration turns settings of gates into documents with the same meaning, renames verdicts, and reverses both."""

import json
from uuid import uuid4

import psycopg
import pytest
from alembic import command
from thumbwheel import wire

from app.cli.migrate import configuration
from app.database import transaction
from app.gates import service as gates
from app.gates.decide import decide
from app.gates.documents import sha256_of
from app.gates.presets import TOY
from app.releases import service as releases
from tests.gates.rules.scores import GOOD, TRAINING, figure
from tests.older_database import older_database

BEFORE, AFTER = "0025", "0026"
EARLIER = {
    "auroc_above": 0.6,
    "non_inferiority_margin": 0.1,
    "kl_nats_per_token": 1000.0,
    "length_ratio_low": 0.5,
    "length_ratio_high": 3,
    "minimum_holdout_per_class": 1,
    "minimum_holdout_prompts": 2,
    "margin_over_dumb_readers": 0.02,
    "refused_findings": ["rewards_fall"],
}
BASE, FAILED, PASSED, RUN, LATER_RUN = (uuid4() for _ in range(5))


@pytest.fixture
def older(servers, monkeypatch):
    with older_database(servers, monkeypatch, BEFORE) as url, psycopg.connect(url, autocommit=True) as connection:
        yield connection


def add(connection):
    for project, settings in (("desk", EARLIER), ("plain", {})):
        document = {"gates": settings, "snapshot": {"minimum_per_class": 7}}
        connection.execute(
            "INSERT INTO projects (id, base_model, configuration, created_at) VALUES (%s, '/m', %s, now())",
            [project, json.dumps(document)],
        )
    checkpoints = [(BASE, "base", "base", []), (PASSED, "adapter", "passed", [])]
    checkpoints += [(FAILED, "adapter", "failed", ["kl.nats_per_token: 3 nats: lower it", "auroc: low"])]
    for checkpoint, kind, verdict, reasons in checkpoints:
        connection.execute(
            "INSERT INTO checkpoints (id, project_id, kind, base_model, verdict, reasons, files, scores, manifest, "
            "created_at) VALUES (%s, 'desk', %s, '/m', %s, %s, '{}', '{}', '{}', now())",
            [checkpoint, kind, verdict, json.dumps(reasons)],
        )
    ledger = [
        (BASE, "base", "start", None),
        (FAILED, "failed", "ship", "the pilot needs it"),
        (PASSED, "passed", "ship", None),
    ]
    for number, (checkpoint, verdict, action, override) in enumerate(ledger, start=1):
        connection.execute(
            "INSERT INTO releases (id, project_id, number, checkpoint_id, verdict, action, reason, override_reason, "
            "by, created_at) VALUES (gen_random_uuid(), 'desk', %s, %s, %s, %s, '', %s, 'a key', now())",
            [number, checkpoint, verdict, action, override],
        )
    for run, settings in ((RUN, {}), (LATER_RUN, EARLIER)):
        connection.execute(
            "INSERT INTO runs (id, project_id, state, trigger, configuration, recipe, watermark, "
            "reference_checkpoint_id, phase_done, phase_total, lease_epoch, lost, warnings, paused, waiting, changes, "
            "rung_at, created_at) VALUES (%s, 'desk', 'succeeded', '', %s, '{}', 0, %s, 0, 0, 0, 0, '[]', false, "
            "false, '{}', now(), now())",
            [run, json.dumps({"gates": settings}), BASE],
        )


def verdicts(connection):
    rows = connection.execute("SELECT number, verdict, override_reason FROM releases ORDER BY number").fetchall()
    return rows, connection.execute("SELECT verdict FROM checkpoints WHERE id = %s", [FAILED]).fetchone()


def settings_of(connection, table, row):
    query = f"SELECT configuration -> 'gates' FROM {table} WHERE id::text = %s"
    return connection.execute(query, [str(row)]).fetchone()[0]


def test_settings_become_documents_with_the_same_meaning_and_back(older):
    add(older)
    before = verdicts(older)

    command.upgrade(configuration(), AFTER)
    command.upgrade(configuration(), "head")  # the code below expects the newest schema

    with transaction(read_only=True) as session:
        desk, plain = gates.adopted(session, "desk"), gates.adopted(session, "plain")
        [adoption] = gates.history(session, "desk", cursor=None, limit=9).items
        current = releases.current(session, "desk")
        ledger = releases.page(session, "desk", cursor=None, limit=9).items
    assert (desk.version, plain.version, adoption.version) == (2, 1, 2)  # version 1 is that of the first run
    assert desk.sha256 == sha256_of(desk.document)
    assert plain.document.rules == tuple(rule.model_copy(update={"confidence": None}) for rule in TOY.rules)
    assert (plain.document.minimum, plain.document.findings) == (TOY.minimum, TOY.findings)
    assert desk.document.minimum == wire.GateMinimum(groups=2, rows_of_each_class=1)
    assert decide(desk.document, GOOD, TRAINING).verdict == "passed"
    assert decide(desk.document, {**GOOD, "auroc": figure(0.65, 0.6, 0.7)}, TRAINING).verdict != "passed"
    assert settings_of(older, "runs", RUN)["document"] == plain.document.model_dump(mode="json")
    assert settings_of(older, "runs", LATER_RUN)["version"] == 2
    assert verdicts(older) == (
        [(1, "base", None), (2, "refused", "the pilot needs it"), (3, "passed", None)],
        ("refused",),
    )
    assert sorted(ledger[1].override_scope) == ["auroc", "kl.nats_per_token"]
    assert current.checkpoint.overrides == []

    command.downgrade(configuration(), BEFORE)

    assert verdicts(older) == before
    assert settings_of(older, "projects", "desk") == EARLIER
    assert settings_of(older, "runs", LATER_RUN) == EARLIER
    command.upgrade(configuration(), "head")
    with transaction(read_only=True) as session:
        assert gates.adopted(session, "desk").sha256 == desk.sha256


def test_undecided_checkpoints_are_failed_ones_again_in_the_older_tables(older):
    add(older)
    command.upgrade(configuration(), AFTER)
    older.execute(
        "INSERT INTO checkpoints (id, project_id, kind, base_model, verdict, reasons, files, scores, manifest, "
        "created_at) VALUES (%s, 'desk', 'adapter', '/m', 'undecided', '[\"rows: few\"]', '{}', '{}', '{}', now())",
        [undecided := uuid4()],
    )
    ship = (
        "INSERT INTO releases (id, project_id, number, checkpoint_id, verdict, action, reason, override_reason, "
        "override_scope, by, created_at) VALUES (gen_random_uuid(), 'desk', 4, %s, 'undecided', 'ship', '', "
        "%s, %s, 'k', now())"
    )
    for reason, scope in ((None, '["rows"]'), ("a pilot of ten users", None)):
        with pytest.raises(psycopg.errors.CheckViolation, match="passed_or_overridden"):
            older.execute(ship, [undecided, reason, scope])
    older.execute(ship, [undecided, "a pilot of ten users", '["rows"]'])

    command.downgrade(configuration(), BEFORE)

    assert verdicts(older)[0][3] == (4, "failed", "a pilot of ten users")
