"""The operator log: one entry for each operation that succeeded, in its own transaction, for ever."""

import inspect

import psycopg
import pytest
from fastapi.routing import APIRoute
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from app.access import service as access
from app.access.caller import OPERATOR_SCOPES
from app.database import transaction
from app.main import ROUTERS
from app.web.session import SAFE_METHODS
from tests.desk import checkpoint, vote


def entries(api, **filters):
    return api.get("/v1/audit-log", params=filters).json()["items"]


#: Operations that change something and are not listed: feedback and completions have a log of their own, and a preview
#: stores nothing.
NOT_LISTED = {
    "record_feedback", "record_feedback_batch", "register_completion", "register_completions", "create_vote_link",
    "revoke_vote_link", "preview_label_policy", "create_chat_completion", "create_text_completion",
}  # fmt: skip


def test_no_operation_that_changes_something_can_forget_its_entry():
    def scopes(dependant):
        for inner in dependant.dependencies:
            if getattr(inner.call, "__qualname__", "").startswith("may."):
                permission = inspect.getclosurevars(inner.call).nonlocals
                yield "admin" if permission["logged"] else permission["scope"]
            yield from scopes(inner)

    routes = [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]
    unlisted = {
        route.operation_id
        for route in routes
        if route.path.startswith("/v1/") and not route.methods <= SAFE_METHODS
        if OPERATOR_SCOPES.isdisjoint(scopes(route.dependant))
    }

    assert unlisted == NOT_LISTED | {"create_import"}  # which begins its entry itself, after the file has arrived


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


def test_a_replayed_request_leaves_one_entry(api, tmp_path):
    api.patch("/v1/projects/acme", json={"snapshot": {"minimum_per_class": 5, "holdout_share": 0.3}})
    vote(40, project="acme")
    body = {"checkpoint_id": str(checkpoint(tmp_path, "acme")), "reason": "better"}
    answers = [
        api.post("/v1/releases?project=acme", headers={"Idempotency-Key": "k1"}, json=body).status_code
        for _ in range(2)
    ]

    assert answers == [201, 201]
    [entry] = entries(api, operation="ship")
    assert entry["about"] == {"release": 2, "checkpoint_id": body["checkpoint_id"], "overridden": False}


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
