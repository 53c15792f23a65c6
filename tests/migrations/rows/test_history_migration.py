"""The migration derives kinds and attempts from the sentences of older histories, and reverses that."""

from collections.abc import Iterator
from itertools import pairwise
from uuid import uuid4

import psycopg
import pytest
from alembic import command

from app.cli.migrate import configuration
from tests.conftest import Servers
from tests.older_database import older_database

BEFORE, AFTER = "0023", "0024"
BASE, RUN, OTHER = (uuid4() for _ in range(3))
#: The history of a run: author, text, state after it, and the expected kind and attempt.
HISTORY = [
    ("key a", f"asked for by key a; it waits behind run {OTHER}", "queued", "waits", None),
    ("thumbwheel", "its turn has come", "queued", "turn", None),
    ("key a", "paused by key a", "queued", "paused", None),
    ("key a", "resumed by key a", "queued", "resumed", None),
    ("w:1:a", "claimed, attempt 1", "snapshotting", "claimed", 1),
    ("w:1:a", f"goes on from the saved state of run {OTHER}", "snapshotting", "taken_over", 1),
    ("w:1:a", "", "referencing", "moved", 1),
    ("w:1:a", "memory ran out with 16 rows at once: training begins again with a micro_batch_size of 8",
     "referencing", "shrunk", 1),
    ("w:1:a", "given back", "referencing", "returned", 1),
    ("w:1:b", "claimed, attempt 2", "referencing", "claimed", 2),
    ("w:1:b", "given back, as the disk that holds /work is full: make room there; it is tried again in 5 s",
     "referencing", "held_up", 2),
    ("w:1:c", "claimed, attempt 3", "referencing", "claimed", 3),
    ("reaper", "worker w:1:c fell silent; it is tried again", "referencing", "silent", 3),
    ("w:1:d", "claimed, attempt 4", "referencing", "claimed", 4),
    ("w:1:d", "the trainer was ended by SIGKILL:\nKilled; it is tried again", "referencing", "lost", 4),
    ("key b", "paused by key b", "referencing", "paused", 4),
    ("key b", "resumed by key b", "referencing", "resumed", 4),
    ("w:1:e", "claimed, attempt 12", "referencing", "claimed", 12),
    ("w:1:e", "step-000006 did not verify", "referencing", "noted", 12),
    ("key b", "paused by key b", "referencing", "paused", 12),
    ("w:1:e", "given back, as it is paused", "referencing", "returned", 12),
    ("key b", "resumed by key b", "referencing", "resumed", 12),
    ("w:1:f", "claimed, attempt 13", "referencing", "claimed", 13),
    ("reaper", "worker w:1:f fell silent; it is paused", "referencing", "silent", 13),
    ("key b", "cancelled by key b", "cancelling", "cancelling", 13),
    ("w:1:f", "its processes have ended", "cancelled", "ended", 13),
]  # fmt: skip
GIVEN_UP = [
    ("key a", "asked for by key a", "queued", "requested", None),
    ("w:1:a", "claimed", "snapshotting", "claimed", 1),
    ("reaper", "given up after 5 lost attempts, the last one: worker w:1:a fell silent", "failed", "given_up", 1),
]


@pytest.fixture
def older(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> Iterator[psycopg.Connection]:
    """A connection to a database at the version before kinds, with a project and its base checkpoint."""
    with (
        older_database(servers, monkeypatch, BEFORE) as url,
        psycopg.connect(url, autocommit=True) as connection,
    ):
        connection.execute(
            "INSERT INTO projects (id, base_model, configuration, created_at) VALUES ('desk', '/m', '{}', now())"
        )
        connection.execute(
            """INSERT INTO checkpoints (id, project_id, kind, verdict, reasons, files, scores, manifest, created_at,
                                        base_model)
               VALUES (%s, 'desk', 'base', 'base', '[]', '{}', '{}', '{}', now(), '/m')""",
            (BASE,),
        )
        yield connection


def add_run(connection: psycopg.Connection, run_id, state, **columns) -> None:
    values = {
        "id": run_id, "project_id": "desk", "state": state, "trigger": "", "configuration": "{}", "recipe": "{}",
        "watermark": 0, "reference_checkpoint_id": BASE, "created_at": "now", "rung_at": "now", "lease_epoch": 0,
        "lost": 0, "phase_done": 0, "phase_total": 0, "warnings": "[]", **columns,
    }  # fmt: skip
    places = ", ".join(["%s"] * len(values))
    connection.execute(f"INSERT INTO runs ({', '.join(values)}) VALUES ({places})", list(values.values()))


def add_history(connection: psycopg.Connection, run_id, lines) -> None:
    for (_, _, before, *_), (by, reason, after, *_) in pairwise([(None,) * 5, *lines]):
        connection.execute(
            """INSERT INTO run_transitions (run_id, from_state, to_state, at, "by", reason)
               VALUES (%s, %s, %s, now(), %s, %s)""",
            (run_id, before, after, by, reason),
        )


def kinds(connection: psycopg.Connection, run_id) -> list[tuple[str, str, str, str, int | None]]:
    return connection.execute(
        'SELECT "by", reason, to_state, kind, attempt FROM run_transitions WHERE run_id = %s ORDER BY id', (run_id,)
    ).fetchall()


def test_every_sentence_of_an_older_history_gets_its_kind_and_attempt_in_both_directions(older):
    add_run(older, RUN, "cancelled")
    add_run(older, OTHER, "failed")
    add_history(older, RUN, HISTORY)
    add_history(older, OTHER, GIVEN_UP)

    command.upgrade(configuration(), AFTER)

    assert (kinds(older, RUN), kinds(older, OTHER)) == (HISTORY, GIVEN_UP)
    with pytest.raises(psycopg.errors.RestrictViolation, match="rows of run_transitions are never changed"):
        older.execute("UPDATE run_transitions SET kind = 'noted'")

    command.downgrade(configuration(), BEFORE)

    kept = older.execute('SELECT "by", reason, to_state FROM run_transitions ORDER BY id').fetchall()
    assert kept == [line[:3] for line in (*HISTORY, *GIVEN_UP)]

    command.upgrade(configuration(), AFTER)

    assert (kinds(older, RUN), kinds(older, OTHER)) == (HISTORY, GIVEN_UP)


def test_rows_of_runs_that_no_version_writes_are_put_right(older):
    lease = {"lease_owner": "w:1:a", "lease_expires_at": "now"}
    add_run(older, uuid4(), "failed", paused=True, **lease)
    add_run(older, uuid4(), "succeeded", lease_owner="w:1:a")
    add_run(older, uuid4(), "queued", waiting=True, paused=True, **lease)
    add_run(older, uuid4(), "cancelling", paused=True)

    command.upgrade(configuration(), AFTER)

    rows = older.execute(
        "SELECT state, paused, waiting, lease_owner, lease_expires_at <= now() FROM runs ORDER BY state"
    )
    assert rows.fetchall() == [
        ("cancelling", False, False, "nobody", True),  # the reaper ends it
        ("failed", False, False, None, None),
        ("queued", True, True, None, None),
        ("succeeded", False, False, None, None),
    ]
