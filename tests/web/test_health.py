"""The probes of load balancers and orchestrators."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from uuid import uuid4

import psycopg
import pytest
from fastapi.testclient import TestClient
from httpx import Response

from app import services
from app.main import create_app
from tests.conftest import forget_settings


@pytest.fixture
def elsewhere(servers, monkeypatch):
    """Yields a function that changes the environment and returns a client of an API with the new settings."""

    with ExitStack() as clients:

        def change(**environment: str) -> TestClient:
            for name, value in environment.items():
                monkeypatch.setenv(name, value)
            forget_settings()
            return clients.enter_context(TestClient(create_app()))

        yield change
    monkeypatch.undo()
    forget_settings()


def test_a_migrated_database_and_a_broker_make_it_ready_without_a_key(api):
    live = api.get("/livez", headers={"Authorization": ""})
    ready = api.get("/readyz", headers={"Authorization": ""})

    assert (live.status_code, live.json()) == (200, {"status": "live"})
    assert (ready.status_code, ready.json()) == (200, {"status": "ready", "redis": "ok", "limits": "enforced"})


def test_a_broker_that_is_away_is_said_and_keeps_nobody_from_sending_events(migrated, elsewhere):
    client = elsewhere(THUMBWHEEL_REDIS_URL=f"redis://127.0.0.1:{services.free_port()}/0")

    answer = client.get("/readyz")

    assert (answer.status_code, answer.json()["redis"]) == (200, "away")
    assert answer.json()["limits"] == "not enforced"


def test_a_database_that_is_away_makes_it_unready_but_leaves_it_alive(migrated, elsewhere):
    client = elsewhere(THUMBWHEEL_DATABASE_URL=f"postgresql://nobody@127.0.0.1:{services.free_port()}/none")

    answer = client.get("/readyz")

    assert answer.status_code == 503
    assert answer.json()["code"] == "database_unavailable"
    assert int(answer.headers["Retry-After"]) > 0
    assert client.get("/livez").status_code == 200


def test_a_database_without_tables_makes_it_unready_and_the_remedy_is_named(servers, elsewhere):
    with services.embedded_postgres(servers.folder / "empty", durable=False) as empty:
        client = elsewhere(THUMBWHEEL_DATABASE_URL=empty.url)

        answer = client.get("/readyz")

    assert answer.status_code == 503
    assert answer.json()["code"] == "not_migrated"
    assert "thumbwheel migrate" in answer.json()["detail"]


def post_event(api: TestClient) -> Response:
    event = {"event_id": uuid4().hex, "completion_id": "c", "actor": "a", "signal": {"kind": "thumbs", "value": "up"}}
    return api.post("/v1/feedback?project=acme", json=event)


def codes_of_probe_and_event(api: TestClient, wanted: int) -> tuple[str | None, str | None]:
    """Returns the codes of the problems, once the probe and an event both have the status `wanted`; 201 for 200."""
    for _ in range(200):
        ready, posted = api.get("/readyz"), post_event(api)
        if ready.status_code == wanted and posted.status_code == {200: 201}.get(wanted, wanted):
            return ready.json().get("code"), posted.json().get("code")
        threading.Event().wait(0.05)  # a result is cached for half a second
    raise AssertionError(f"/readyz answers {ready.status_code} while POST answers {posted.status_code}")


@contextmanager
def owner(database: str) -> Iterator[psycopg.Connection]:
    options = "-c default_transaction_read_only=off -c lock_timeout=10s"
    with psycopg.connect(database, autocommit=True, options=options) as connection:
        yield connection


def set_read_only(database: str, value: str) -> None:
    """Changes the read-only setting of the database as an administrator would, and closes open connections."""
    with owner(database) as connection:
        connection.execute(f"ALTER DATABASE thumbwheel {value}")
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
                           " AND usename = current_user AND datname = current_database()")  # fmt: skip


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # from closed connections
def test_it_is_not_ready_while_postgres_is_read_only_and_every_event_is_refused(api, database):
    assert codes_of_probe_and_event(api, 200) == (None, None)
    set_read_only(database, "SET default_transaction_read_only = on")
    try:
        assert codes_of_probe_and_event(api, 503) == ("database_read_only", "database_read_only")
    finally:
        set_read_only(database, "RESET default_transaction_read_only")
    assert codes_of_probe_and_event(api, 200) == (None, None)


def test_it_is_not_ready_without_a_partition_for_today_and_is_while_the_one_for_all_others_stands_in(api, database):
    bounds = "SELECT relname, pg_get_expr(relpartbound, oid) FROM pg_class WHERE oid = to_regclass(%s)"
    with owner(database) as connection:
        month = connection.execute("SELECT to_char(now() AT TIME ZONE 'UTC', '\"events_\"YYYY_MM')").fetchone()[0]
        [of_month, of_others] = (
            connection.execute(bounds, [name]).fetchone() for name in (month, "events_other")
        )  # fmt: skip
        connection.execute(f"ALTER TABLE events DETACH PARTITION {month}")
        try:
            assert codes_of_probe_and_event(api, 200) == (None, None)
            connection.execute("TRUNCATE events_other")
            connection.execute("ALTER TABLE events DETACH PARTITION events_other")
            try:
                post_event(api)
                assert codes_of_probe_and_event(api, 503) == ("no_partition", "no_partition")
            finally:
                connection.execute(f"ALTER TABLE events ATTACH PARTITION events_other {of_others[1]}")
        finally:
            connection.execute(f"ALTER TABLE events ATTACH PARTITION {month} {of_month[1]}")
    assert codes_of_probe_and_event(api, 200) == (None, None)
