"""Keys that are rotated or revoked: every process hears of it at once, and the last use is kept."""

import time
from uuid import uuid4

import pytest
from fastapi.testclient import TestClient

from app.access import key_changes, known_keys
from app.main import create_app
from app.projects import admission


@pytest.fixture
def two_processes(api, monkeypatch):
    """Returns two clients of the API, as of two processes, whose caches would keep a key for a minute."""
    for module in (admission, known_keys):
        monkeypatch.setattr(module, "REMEMBERED_SECONDS", 60)
    monkeypatch.setattr(admission, "REFRESH_SECONDS", 60)
    with TestClient(create_app()) as other:
        yield api, other


def send(client, headers):
    event = {"event_id": str(uuid4()), "completion_id": "c", "actor": "u", "signal": {"kind": "thumbs", "value": "up"}}
    return client.post("/v1/feedback", headers=headers, json=event).status_code


def until(expected, ask, seconds=5):
    """Asks until the answer is the expected one, and returns the last answer."""
    deadline = time.monotonic() + seconds
    while (answer := ask()) != expected and time.monotonic() < deadline:
        time.sleep(0.02)
    return answer


def test_a_revoked_key_is_refused_by_every_process_at_once(two_processes):
    api, other = two_processes
    created = api.post("/v1/keys", json={"name": "x", "scopes": ["feedback:write"], "project": "acme"}).json()
    headers = {"Authorization": f"Bearer {created['secret']}"}
    assert (send(api, headers), send(other, headers)) == (201, 201)

    assert api.delete(f"/v1/keys/{created['id']}").status_code == 200

    assert until(401, lambda: send(api, headers)) == 401
    assert until(401, lambda: send(other, headers)) == 401


def test_both_secrets_of_a_rotated_key_are_valid_during_the_overlap(api):
    created = api.post("/v1/keys", json={"name": "x", "scopes": ["feedback:write"], "project": "acme"}).json()
    old = {"Authorization": f"Bearer {created['secret']}"}

    rotated = api.post(f"/v1/keys/{created['id']}/rotate", json={"overlap_hours": 1}).json()
    new = {"Authorization": f"Bearer {rotated['secret']}"}

    assert rotated["id"] == created["id"]
    assert (send(api, old), send(api, new)) == (201, 201)
    last = api.post(f"/v1/keys/{created['id']}/rotate", json={"overlap_hours": 0}).json()
    assert until(401, lambda: send(api, new)) == 401
    assert until(401, lambda: send(api, old)) == 401
    assert send(api, {"Authorization": f"Bearer {last['secret']}"}) == 201


def test_a_revoked_key_cannot_be_rotated(api):
    created = api.post("/v1/keys", json={"name": "x", "scopes": ["runs:read"]}).json()
    api.delete(f"/v1/keys/{created['id']}")

    answer = api.post(f"/v1/keys/{created['id']}/rotate", json={})

    assert (answer.status_code, answer.json()["code"]) == (409, "closed_key")


def test_the_last_use_of_a_key_is_shown(application, api, key, monkeypatch):
    monkeypatch.setattr(key_changes, "WRITE_SECONDS", 0.05)
    with TestClient(application) as client:
        client.headers["Authorization"] = api.headers["Authorization"]
        assert send(client, key("feedback:write", project="acme")) == 201

        def used():
            return client.get("/v1/keys").json()["items"][0]["last_used_at"] is not None

        assert until(True, used)
