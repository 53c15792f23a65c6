"""Erasures of actors with more events than Postgres takes parameters."""

import psycopg
import pytest
from thumbwheel import wire

from app import settings
from app.privacy.erasures import service as erasures
from tests.rows.desk import execute, make_project
from tests.rows.test_erasures import ask, shown


@pytest.fixture(autouse=True)
def _project(database):
    make_project()


def work_until(erasure: wire.Erasure, done) -> wire.Erasure:
    for _ in range(60):
        erasures.advance(erasure.id)
        if done(shown(erasure)):
            return shown(erasure)
    raise AssertionError(shown(erasure))


def test_an_actor_with_70_000_events_is_erased():
    with psycopg.connect(settings.current().need_libpq_database(), autocommit=True) as connection:
        connection.execute(
            """
            WITH filled AS (
                INSERT INTO events (project_id, event_id, completion_id, actor, signal, metadata, position, received_at)
                SELECT 'desk', 'v' || n, 'c' || n, 'eve', '{"kind": "copy"}', '{}', n, now()
                FROM generate_series(1, 70000) AS n
                RETURNING project_id, event_id, position, received_at)
            INSERT INTO event_ids SELECT * FROM filled
            """
        )

    done = work_until(ask(), lambda shown: shown.state == "done")

    assert done.certificate.events == 70_000
    assert execute("SELECT count(*) FROM events") == [(0,)]
    assert execute("SELECT count(*) FROM event_ids") == [(70_000,)]
