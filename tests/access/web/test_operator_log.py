"""The operator log: one entry for each operation that succeeded, in its own transaction, for ever."""

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from app.access import service as access
from app.database import transaction


def entries(api, **filters):
    return api.get("/v1/audit-log", params=filters).json()["items"]


def test_each_operation_of_an_operator_has_an_entry_with_its_key_and_what_it_is_about(api):
    created = api.post(
        "/v1/keys", headers={"X-Request-Id": "r-17"}, json={"name": "page", "scopes": ["runs:read"], "project": "acme"}
    ).json()
    api.delete(f"/v1/keys/{created['id']}")
    api.patch("/v1/projects/acme", json={"trigger": {"every_hours": 24}, "archived": False})

    changed, revoked, made, first = entries(api)

    assert (made["operation"], made["project"], made["request_id"]) == ("create_key", "acme", "r-17")
    assert made["about"] == {"key_id": created["id"], "name": "page", "scopes": ["runs:read"]}
    assert made["by"] == "key first admin"
    assert (revoked["operation"], revoked["about"]["key_id"]) == ("revoke_key", created["id"])
    assert (changed["operation"], changed["project"]) == ("change_project", "acme")
    assert changed["about"] == {"changed": ["archived", "trigger"], "archived": False}
    assert (first["operation"], first["key_id"]) == ("create_first_key", None)


def test_reading_refused_and_failed_operations_leave_no_entry(api, key):
    before = len(entries(api))
    api.get("/v1/projects")
    api.post("/v1/label-policies/preview?project=acme", json={"policy": {}})
    api.post("/v1/keys", json={"name": "x", "scopes": ["runs:read"], "project": "nobody"})
    api.post("/v1/runs?project=acme", json={})

    assert len(entries(api)) == before


def test_a_replayed_request_leaves_one_entry(api):
    released = api.get("/v1/releases?project=acme").json()["items"][0]
    body = {"checkpoint_id": released["checkpoint_id"], "reason": "again", "override_reason": "a test"}
    answers = [
        api.post("/v1/releases?project=acme", headers={"Idempotency-Key": "k1"}, json=body).status_code
        for _ in range(2)
    ]

    assert answers[0] == answers[1]
    assert len(entries(api, operation="ship")) == (1 if answers[0] == 201 else 0)


def test_an_erased_actor_is_not_named(api):
    event = {"event_id": "e", "completion_id": "c", "actor": "user-77", "signal": {"kind": "thumbs", "value": "up"}}
    assert api.post("/v1/feedback?project=acme", json=event).status_code == 201

    erasure = api.delete("/v1/actors/user-77?project=acme").json()

    [entry] = entries(api, operation="erase_actor_by_path")
    assert entry["about"] == {"erasure_id": erasure["id"]}
    assert "user-77" not in str(entries(api))


def test_an_admin_of_one_project_sees_its_actions_alone(api, key):
    api.post("/v1/projects", json={"project": "other", "base_model": "/m", "suites": []})
    own = key("admin", project="acme")

    listed = api.get("/v1/audit-log", headers=own).json()["items"]

    assert {entry["project"] for entry in listed} == {"acme"}
    assert {entry["project"] for entry in entries(api, project="other")} == {"other"}
    assert api.get("/v1/audit-log?project=other", headers=own).status_code == 403


@pytest.mark.parametrize("statement", ["UPDATE operator_actions SET by = 'nobody'", "DELETE FROM operator_actions"])
def test_entries_are_never_changed_or_deleted(database, statement):
    with transaction() as session:
        access.first_admin_key(session)

    with pytest.raises(DBAPIError) as refused, transaction() as session:
        session.execute(text(statement))
    assert isinstance(refused.value.orig, psycopg.errors.RestrictViolation)
