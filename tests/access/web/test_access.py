"""Keys over HTTP: which calls a key allows, and which keys it may create."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from app.access.tables import ApiKey
from app.database import transaction


def test_a_request_without_a_key_gets_401_with_the_remedy(api):
    answer = api.get("/v1/projects", headers={"Authorization": ""})

    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["code"] == "no_key"


@pytest.mark.parametrize(
    "header", ["Bearer tw_nobody-knows-me", "Bearer ", "Basic dXNlcjpwYXNz", "tw_x", b"Bearer \xff"]
)
def test_a_wrong_key_is_refused_without_saying_more(api, header):
    answer = api.get("/v1/projects", headers={"Authorization": header})

    assert answer.status_code == 401
    assert answer.json()["code"] in ("unknown_key", "no_key")


def test_a_new_key_opens_what_its_scopes_say_and_nothing_else(api):
    created = api.post("/v1/keys", json={"name": "dashboard", "scopes": ["runs:read"]})
    headers = {"Authorization": f"Bearer {created.json()['secret']}"}

    assert created.status_code == 201
    assert api.get("/v1/projects", headers=headers).status_code == 200
    refused = api.post("/v1/projects", headers=headers, json={"project": "other", "base_model": "/m"})
    assert refused.status_code == 403
    assert refused.json()["details"] == {"scope": "admin"}
    assert refused.json()["detail"] == "This needs the scope admin; your key 'dashboard' has runs:read."


def test_a_key_that_may_not_do_it_is_refused_before_its_body_is_judged(api, key):
    answer = api.post("/v1/projects", headers=key("runs:read"), json={"nonsense": True})

    assert answer.status_code == 403


def test_a_revoked_key_opens_nothing_from_now_on_and_revoking_again_changes_nothing(api):
    created = api.post("/v1/keys", json={"name": "gone soon", "scopes": ["admin"]}).json()

    first = api.delete(f"/v1/keys/{created['id']}")
    second = api.delete(f"/v1/keys/{created['id']}")

    assert first.status_code == second.status_code == 200
    assert first.json()["revoked_at"] == second.json()["revoked_at"] is not None
    answer = api.get("/v1/projects", headers={"Authorization": f"Bearer {created['secret']}"})
    assert answer.status_code == 401
    assert "was revoked" in answer.json()["detail"]


def test_an_expired_key_opens_nothing(api):
    later = datetime.now(UTC) + timedelta(hours=1)
    created = api.post("/v1/keys", json={"name": "short", "scopes": ["admin"], "expires_at": later.isoformat()}).json()
    headers = {"Authorization": f"Bearer {created['secret']}"}
    assert api.get("/v1/projects", headers=headers).status_code == 200

    with transaction() as session:
        session.scalars(select(ApiKey).where(ApiKey.name == "short")).one().expires_at = datetime.now(UTC)

    answer = api.get("/v1/projects", headers=headers)
    assert answer.status_code == 401
    assert "expired" in answer.json()["detail"]


def test_a_key_that_would_have_expired_already_is_not_made(api):
    answer = api.post("/v1/keys", json={"name": "old", "scopes": ["admin"], "expires_at": "2020-01-01T00:00:00Z"})

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/expires_at"


def test_the_list_shows_no_secrets_newest_first_in_pages(api):
    created = [api.post("/v1/keys", json={"name": f"key {n}", "scopes": ["runs:read"]}).json() for n in range(3)]

    first = api.get("/v1/keys", params={"limit": 2}).json()
    second = api.get("/v1/keys", params={"limit": 2, "cursor": first["next_cursor"]}).json()

    assert [item["name"] for item in first["items"] + second["items"]] == ["key 2", "key 1", "key 0", "first admin"]
    assert second["next_cursor"] is None
    assert not any(item["secret"] in str(first) + str(second) for item in created)


@pytest.mark.parametrize("path", ["/v1/keys", "/v1/projects"])
@pytest.mark.parametrize("cursor", ["???", "AAAA", "w6Q"])
def test_a_cursor_that_no_page_gave_out_is_refused(api, path, cursor):
    answer = api.get(path, params={"cursor": cursor})

    assert answer.status_code == 422
    assert answer.json()["code"] == "invalid_cursor"


def test_a_key_of_an_unknown_project_is_not_made(api):
    answer = api.post("/v1/keys", json={"name": "x", "scopes": ["runs:read"], "project": "nobody"})

    assert answer.status_code == 404
    assert answer.json()["code"] == "project_not_found"


def test_the_admin_of_one_project_rules_over_its_keys_alone(api, key):
    api.post("/v1/projects", json={"project": "other", "base_model": "/m"})
    admin = key("admin", project="acme")
    of_other = api.post("/v1/keys", json={"name": "theirs", "scopes": ["runs:read"], "project": "other"}).json()
    new = {"name": "mine", "scopes": ["runs:read"]}

    assert api.post("/v1/keys", headers=admin, json={**new, "project": "acme"}).status_code == 201
    assert api.post("/v1/keys", headers=admin, json={**new, "project": "other"}).status_code == 403
    assert api.post("/v1/keys", headers=admin, json=new).status_code == 403
    assert {item["project"] for item in api.get("/v1/keys", headers=admin).json()["items"]} == {"acme"}
    assert api.delete(f"/v1/keys/{of_other['id']}", headers=admin).status_code == 404


def test_unknown_scopes_and_fields_are_named(api):
    answer = api.post("/v1/keys", json={"name": "x", "scopes": ["everything"], "colour": "red"})

    assert answer.status_code == 422
    assert {fault["pointer"] for fault in answer.json()["errors"]} == {"/scopes/0", "/colour"}
