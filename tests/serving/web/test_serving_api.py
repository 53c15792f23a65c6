"""Serving targets over HTTP: validated settings, notices, refusals before training, and who may do what."""

import pytest

VLLM = {"kind": "vllm", "url": "http://127.0.0.1:8100/v1/", "publish_folder": "/srv/models/"}


def add(api, name="gpu", **settings):
    body = {"name": name, "settings": {**VLLM, **settings}}
    return api.post("/v1/serving/targets", params={"project": "acme"}, json=body)


def test_a_target_is_stored_with_every_default_and_shown_beside_the_live_checkpoint(api):
    made = add(api)
    shown = api.get("/v1/serving", params={"project": "acme"}).json()

    assert made.status_code == 201, made.text
    settings = made.json()["settings"]
    assert (settings["url"], settings["publish_folder"]) == ("http://127.0.0.1:8100", "/srv/models")
    assert (settings["max_lora_rank"], settings["drain_seconds"], settings["full_weights"]) == (16, 30, "refused")
    [target] = shown["targets"]
    assert (target["name"], target["state"], target["in_step"], target["url"]) == (
        "gpu", "new", False, "http://127.0.0.1:8100/v1",
    )  # fmt: skip
    assert target["desired_checkpoint_id"] == shown["checkpoint_id"]
    assert (shown["in_step"], shown["targets_differ"], shown["release"]) == (False, False, 1)
    assert target["differs_since"] == target["created_at"]


@pytest.mark.parametrize(
    ("settings", "pointer", "message"),
    [
        ({"url": "ftp://host"}, "/settings/url", "must begin with http"),
        ({"url": "http://user:word@host"}, "/settings/url", "no user name or password"),
        ({"url": "http://host:port"}, "/settings/url", "is not a URL"),
        ({"publish_folder": "models"}, "/settings/publish_folder", "absolute path"),
        ({"publish_folder": "/srv/../etc"}, "/settings/publish_folder", "absolute path"),
        ({"key_env": "AWS_SECRET_ACCESS_KEY"}, "/settings/key_env", "THUMBWHEEL_SERVING_KEY_"),
        ({"max_lora_rank": 0}, "/settings/max_lora_rank", "greater than or equal to 1"),
        ({"kind": "llama.cpp"}, "/settings", "vllm"),
        ({"rank": 3}, "/settings/rank", "not permitted"),
    ],
)
def test_wrong_settings_are_refused_by_the_name_of_the_field(api, settings, pointer, message):
    refused = add(api, **settings)

    assert refused.status_code == 422, refused.text
    faults = refused.json()["errors"]
    assert any(fault["pointer"] == pointer and message in fault["message"] for fault in faults), faults


def test_a_name_is_taken_once_and_an_unknown_one_is_404(api):
    assert add(api).status_code == 201
    assert add(api).json()["code"] == "target_exists"
    for method, path in (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/sync")):
        answer = api.request(
            method,
            f"/v1/serving/targets/none{path}",
            params={"project": "acme"},
            json={} if method == "PATCH" else None,
        )
        assert (answer.status_code, answer.json()["code"]) == (404, "target_not_found"), method


def test_a_target_is_turned_off_changed_looked_at_and_removed(api):
    add(api)
    path, project = "/v1/serving/targets/gpu", {"project": "acme"}

    assert api.patch(path, params=project, json={"enabled": False}).json()["state"] == "disabled"
    assert api.post(f"{path}/sync", params=project).json()["code"] == "target_disabled"
    changed = api.patch(path, params=project, json={"enabled": True, "settings": {**VLLM, "max_lora_rank": 64}}).json()
    assert (changed["state"], changed["settings"]["max_lora_rank"]) == ("new", 64)
    assert api.post(f"{path}/sync", params=project).status_code == 202
    assert [target["name"] for target in api.get("/v1/serving/targets", params=project).json()["items"]] == ["gpu"]
    assert api.delete(path, params=project).status_code == 204
    assert api.get("/v1/serving", params=project).json()["targets"] == []


def test_a_recipe_that_a_target_would_refuse_does_not_start(api):
    changes = {"lora": {"rank": 64, "dora": True}}
    api.patch("/v1/projects/acme", json={"recipe": {"preset": "lora-small", "changes": changes}})

    notices = add(api).json()["notices"]
    run = api.post("/v1/runs", params={"project": "acme"}, json={})
    readiness = api.get("/v1/projects/acme/readiness").json()

    assert len(notices) == 2
    assert notices[0].startswith("lora.dora is true, and target gpu (vllm) loads no DoRA")
    assert (run.status_code, run.json()["code"]) == (409, "not_servable")
    assert [fault["pointer"] for fault in run.json()["errors"]] == ["/changes/lora/dora", "/changes/lora/rank"]
    assert readiness["ready"] is False
    assert notices[1] in readiness["reasons"]

    api.patch("/v1/serving/targets/gpu", params={"project": "acme"}, json={"enabled": False})
    assert api.post("/v1/runs", params={"project": "acme"}, json={}).json()["code"] == "not_ready"  # no feedback yet


def test_full_weights_need_a_target_that_takes_them(api):
    api.patch("/v1/projects/acme", json={"recipe": {"preset": "full"}})

    assert add(api).json()["notices"][0].startswith("method is full, and target gpu loads adapters alone")
    assert add(api, "restarted", full_weights="by_restart").json()["notices"] == []


def test_reading_shipping_and_administration_need_their_scopes(api, key):
    add(api)
    reader, shipper = key("runs:read", project="acme"), key("releases:write", project="acme")

    assert api.get("/v1/serving", headers=reader).status_code == 200
    assert api.post("/v1/serving/targets/gpu/sync", headers=shipper).status_code == 202
    assert api.post("/v1/serving/targets/gpu/sync", headers=reader).status_code == 403
    assert api.delete("/v1/serving/targets/gpu", headers=shipper).status_code == 403


def test_a_key_of_one_project_names_no_variable_of_another(api):
    given = {"name": "admin", "scopes": ["admin"], "project": "acme"}
    limited = {"Authorization": f"Bearer {api.post('/v1/keys', json=given).json()['secret']}"}

    def answers(variable):
        settings = {**VLLM, "key_env": f"THUMBWHEEL_SERVING_KEY_{variable}"}
        path = "/v1/serving/targets"
        made = api.post(path, headers=limited, json={"name": variable.lower().replace("_", "-"), "settings": settings})
        changed = api.patch(f"{path}/gpu", headers=limited, json={"settings": settings})
        return made, changed

    assert add(api, key_env="THUMBWHEEL_SERVING_KEY_GPU").status_code == 201  # by a key for all projects
    for variable in ("GPU", "OTHER__GPU", "ACME_GPU", "ACME__B__GPU"):
        for answer in answers(variable):
            assert (answer.status_code, answer.json()["code"]) == (422, "other_key_variable"), answer.text
            [fault] = answer.json()["errors"]
            assert fault["pointer"] == "/settings/key_env"
            assert "THUMBWHEEL_SERVING_KEY_ACME__NAME" in fault["message"]
    assert [answer.status_code for answer in answers("ACME__GPU")] == [201, 200]
    kept = api.patch("/v1/serving/targets/gpu", headers=limited, json={"enabled": False})
    assert kept.status_code == 200
