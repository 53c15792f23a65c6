"""A project with a long log, after a round of the loop."""

import time

import psycopg
from thumbwheel import wire

from app.access import service as access
from app.database import transaction
from app.labels.quarantine import service as quarantine
from app.loop import service as loop
from app.project_setup import service as project_setup
from app.services import wait_until
from benchmarks.labels.logs import fill

PROJECT = "lookups"
SETTLING_SECONDS = 300


def prepare(database_url: str, events: int) -> tuple[str, float]:
    """Fills a project's log and runs one round of the loop; returns an API key and the round's seconds."""
    with transaction() as session:
        project_setup.create(session, wire.NewProject(project=PROJECT, base_model="/models/base", suites=[]))
        new = wire.NewKey(name="reader", scopes=["feedback:read", "runs:read"], project=PROJECT)
        secret = access.create_key(session, new, within=None).secret
    fill(database_url, PROJECT, events)
    register_ids(database_url)
    with transaction() as session:
        for actor in ("user-1", "user-2", "user-3"):
            new_decision = wire.NewQuarantineDecision(actor=actor, decision="confirmed", reason="a script")
            quarantine.decide(session, PROJECT, new_decision, "benchmark")
    began = time.perf_counter()
    loop.tick()
    seconds = time.perf_counter() - began
    settle(database_url)
    return secret, seconds


def settle(database_url: str) -> None:
    """Waits until Postgres has vacuumed what was filled in, so that lookups have the machine to themselves.

    Raises `RuntimeError` if that takes longer than `SETTLING_SECONDS`.
    """
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("VACUUM (ANALYZE)")
        if not wait_until(lambda: not _vacuuming(connection), SETTLING_SECONDS):
            raise RuntimeError("Postgres still vacuums: repeat the benchmark on a machine with less work")


def _vacuuming(connection: psycopg.Connection) -> bool:
    query = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'autovacuum worker'"
    row = connection.execute(query).fetchone()
    return row is not None and row[0] > 0


def register_ids(database_url: str) -> None:
    """Registers the ids of events that were copied into the log, bypassing the API."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO event_ids (project_id, event_id, position, received_at) "
            "SELECT project_id, event_id, position, received_at FROM events"
        )
        connection.execute("VACUUM (ANALYZE) event_ids")
