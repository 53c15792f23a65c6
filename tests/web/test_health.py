"""Probes: what a load balancer and an orchestrator ask."""

from contextlib import ExitStack

import pytest
from fastapi.testclient import TestClient

from app import services
from app.main import create_app
from tests.conftest import forget_settings


@pytest.fixture
def elsewhere(servers, monkeypatch):
    """Have the settings read anew from a changed environment, and as they were afterwards."""

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
    assert (ready.status_code, ready.json()) == (200, {"status": "ready", "redis": "ok"})


def test_a_broker_that_is_away_is_said_and_keeps_nobody_from_sending_events(migrated, elsewhere):
    client = elsewhere(THUMBWHEEL_REDIS_URL=f"redis://127.0.0.1:{services.free_port()}/0")

    answer = client.get("/readyz")

    assert (answer.status_code, answer.json()["redis"]) == (200, "away")


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
