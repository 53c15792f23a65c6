"""The migration gives runs their place in a comparison, and takes it away without losing a run."""

import json

import psycopg
import pytest
from alembic import command

from app.cli.migrate import configuration
from app.database import transaction
from app.runs import service as runs
from app.runs.comparisons import service as comparisons
from tests.bare_project import CONFIGURATION
from tests.older_database import older_database

BEFORE, AFTER = "0027", "0028"
CHECKPOINT = (
    "INSERT INTO checkpoints (id, project_id, kind, base_model, verdict, reasons, files, scores, manifest, created_at) "
    "VALUES (gen_random_uuid(), 'p', 'base', '/m', 'base', '[]', '{}', '{}', '{}', now())"
)
RUN = (
    "INSERT INTO runs (id, project_id, state, trigger, configuration, recipe, watermark, reference_checkpoint_id, "
    "lease_epoch, lost, rung_at, phase_done, phase_total, warnings, created_at, waiting) "
    "SELECT gen_random_uuid(), 'p', 'queued', 'requested', '{}', '{}', 0, id, 0, 0, now(), 0, 0, '[]', now(), %s "
    "FROM checkpoints"
)
JOB = (
    "INSERT INTO comparisons (id, project_id, kind, state, by, request, configuration, suites, watermark, "
    "reference_checkpoint_id, kl_budget, arms, trials, created_at) "
    "SELECT gen_random_uuid(), 'p', 'comparison', 'running', 'ann', '{\"seeds\": 1}', '{}', '[]', 0, id, 0.5, "
    '\'[{"name": "kto", "changes": {}, "recipe": {}, "budget": []}]\', '
    '\'[{"arm": 0, "seed": 1, "rung": 0, "recipe": {}}]\', now() FROM checkpoints'
)


@pytest.fixture
def older(servers, monkeypatch):
    with older_database(servers, monkeypatch, BEFORE) as url, psycopg.connect(url, autocommit=True) as connection:
        yield connection


def test_runs_stay_in_both_directions_and_one_that_waits_for_its_turn_in_a_comparison_is_cancelled(older):
    older.execute(
        "INSERT INTO projects (id, base_model, configuration, created_at) VALUES ('p', '/m', %s, now())",
        [json.dumps(CONFIGURATION)],
    )
    older.execute(CHECKPOINT)
    older.execute(RUN, [False])

    command.upgrade(configuration(), AFTER)

    older.execute(JOB)
    older.execute(RUN, [True])
    older.execute("UPDATE runs SET group_id = (SELECT id FROM comparisons), group_position = 0 WHERE waiting")
    with pytest.raises(psycopg.errors.CheckViolation):
        older.execute("UPDATE runs SET group_position = 1 WHERE NOT waiting")
    command.upgrade(configuration(), "head")  # the code below expects the newest schema
    with transaction(read_only=True) as session:
        (job,) = comparisons.page(session, "p", cursor=None, limit=5).items
        groups = {run.waiting: run.group_id for run in runs.page(session, "p", cursor=None, limit=5).items}
        assert groups == {True: job.id, False: None}
        assert [run.state for run in job.arms[0].runs] == ["queued"]

    command.downgrade(configuration(), BEFORE)

    states = older.execute("SELECT state, waiting FROM runs ORDER BY waiting, created_at").fetchall()
    assert sorted(states) == [("cancelled", False), ("queued", False)]
    assert older.execute("SELECT kind, to_state FROM run_transitions").fetchall() == [("ended", "cancelled")]
    command.upgrade(configuration(), AFTER)
    assert older.execute("SELECT count(*) FROM comparisons").fetchone() == (0,)
