"""Webhook endpoints over HTTP, by the client and on the command line."""

from datetime import UTC, datetime, timedelta

import pytest

PROJECT = {"project": "acme"}
PATH = "/v1/webhooks/endpoints"


def create(api, **body):
    return api.post(PATH, params=PROJECT, json={"url": "https://ops.example/hook", **body})


def test_an_endpoint_is_created_listed_changed_and_deleted(api):
    created = create(api, kinds=["run.failed", "release.*"], description="pager")
    assert created.status_code == 201, created.text
    path = f"{PATH}/{created.json()['id']}"

    assert created.json()["secret"].startswith("whsec_")
    assert api.get(PATH, params=PROJECT).json()["items"] == [
        {name: value for name, value in created.json().items() if name != "secret"}
    ]
    changed = api.patch(path, params=PROJECT, json={"kinds": ["*"], "enabled": False}).json()
    assert (changed["kinds"], changed["enabled"], changed["description"]) == (["*"], False, "pager")
    assert changed["disabled_reason"] == "disabled by key first admin"
    assert api.patch(path, params=PROJECT, json={"enabled": True}).json()["disabled_reason"] is None
    assert api.delete(path, params=PROJECT).status_code == 200
    assert api.get(path, params=PROJECT).status_code == 404


def test_a_secret_is_shown_at_creation_and_rotation_alone(api):
    created = create(api).json()
    path = f"{PATH}/{created['id']}"
    rotated = api.post(f"{path}/rotate", params=PROJECT, json={"overlap_hours": 2}).json()

    assert rotated["secret"] not in ("", created["secret"])
    end = datetime.fromisoformat(rotated["previous_secret_until"])
    assert abs(end - datetime.now(UTC) - timedelta(hours=2)) < timedelta(minutes=1)
    everything = api.get(path, params=PROJECT).text + api.get(f"{path}/deliveries", params=PROJECT).text
    assert "whsec_" not in everything
    leaked = api.post(f"{path}/rotate", params=PROJECT, json={"overlap_hours": 0}).json()
    assert leaked["previous_secret_until"] is None


def test_a_test_event_enters_the_log_and_is_replayed(api):
    path = f"{PATH}/{create(api).json()['id']}"

    sent = api.post(f"{path}/test", params=PROJECT)
    assert (sent.status_code, sent.json()["type"], sent.json()["state"]) == (202, "webhook.test", "pending")
    [logged] = api.get(f"{path}/deliveries", params={**PROJECT, "state": "pending"}).json()["items"]
    assert logged["payload"]["data"]["url"].endswith(f"{path}?project=acme")
    again = api.post(f"{path}/deliveries/{logged['id']}/replay", params=PROJECT)
    assert (again.status_code, again.json()["webhook_id"]) == (202, logged["webhook_id"])
    missed = api.post(f"{path}/replay", params=PROJECT, json={"since": "2026-01-01T00:00:00Z"})
    assert missed.json() == {"replayed": 0, "complete": True}


@pytest.mark.parametrize(
    ("body", "pointer", "words"),
    [
        ({"url": "http://ops.example/"}, "/url", "use https"),
        ({"url": "https://10.0.0.5/"}, "/url", "a private address"),
        ({"url": "https://u:p@ops.example/"}, "/url", "user name or password"),
        ({"url": "https://ops.example/", "kinds": ["run.exploded"]}, "/kinds/0", "'run.failed'"),
        ({"url": "https://ops.example/", "kinds": []}, "/kinds", "at least 1 item"),
        ({"url": "https://ops.example/", "format": "teams"}, "/format", "'slack'"),
    ],
)
def test_a_wrong_endpoint_is_refused_by_its_field_with_the_remedy(api, body, pointer, words):
    answer = api.post(PATH, params=PROJECT, json=body)

    assert answer.status_code == 422
    [fault] = answer.json()["errors"]
    assert fault["pointer"] == pointer
    assert words in fault["message"]


def test_only_an_admin_key_of_the_project_sees_endpoints_whose_urls_may_be_secrets(api, key):
    created = create(api).json()

    assert api.get(PATH, params=PROJECT, headers=key("runs:read", "releases:write", project="acme")).status_code == 403
    assert api.get(PATH, headers=key("admin", project="acme")).json()["items"][0]["id"] == created["id"]


def test_the_document_describes_the_payload_of_every_type(document):
    described = document["webhooks"]["release.shipped"]["post"]

    assert described["requestBody"]["content"]["application/json"]["schema"] == {
        "$ref": "#/components/schemas/ReleaseShippedWebhook"
    }
    assert described["summary"] == "A checkpoint was shipped"
