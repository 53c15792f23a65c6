"""The ledger over HTTP."""

import pytest

from tests.desk import checkpoint, vote

PROJECT = {"project": "acme"}


@pytest.fixture(autouse=True)
def _enough(api):
    rules = {"minimum_per_class": 5, "holdout_share": 0.3}
    assert api.patch("/v1/projects/acme", json={"snapshot": rules}).status_code == 200
    vote(40, project="acme")


def release(api, **body):
    return api.post("/v1/releases", params=PROJECT, json=body)


def current(api, **headers):
    return api.get("/v1/releases/current", params=PROJECT, headers=headers)


def test_at_first_the_base_model_is_live(api):
    shown = current(api).json()

    assert (shown["action"], shown["checkpoint"]["kind"], shown["base_model"]) == ("start", "base", "/models/base")


def test_serving_asks_cheaply_with_the_etag_it_has(api, tmp_path):
    first = current(api)

    unchanged = current(api, **{"If-None-Match": f'"something-else", W/{first.headers["ETag"]}'})
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    assert unchanged.headers["ETag"] == first.headers["ETag"]

    release(api, checkpoint_id=str(checkpoint(tmp_path, "acme")))
    changed = current(api, **{"If-None-Match": first.headers["ETag"]})
    assert changed.status_code == 200
    assert changed.headers["ETag"] != first.headers["ETag"]


def test_shipping_and_rolling_back_are_one_call_each(api, tmp_path):
    made = str(checkpoint(tmp_path, "acme"))

    shipped = release(api, checkpoint_id=made, reason="better in the pilot")
    assert shipped.status_code == 201, shipped.text
    assert (shipped.json()["number"], shipped.json()["by"]) == (2, "key first admin")
    assert current(api).json()["checkpoint"]["id"] == made

    assert release(api, rollback=True).json()["action"] == "rollback"
    assert current(api).json()["checkpoint"]["kind"] == "base"
    ledger = api.get("/v1/releases", params=PROJECT).json()["items"]
    assert [entry["action"] for entry in ledger] == ["rollback", "ship", "start"]


def test_a_checkpoint_that_its_gates_refused_is_a_409_with_their_reasons(api, tmp_path):
    made = str(checkpoint(tmp_path, "acme", reasons=["auroc: the lower bound is 0.43"]))

    refused = release(api, checkpoint_id=made)

    assert refused.status_code == 409
    assert refused.json()["code"] == "gates_failed"
    assert refused.json()["reasons"] == ["auroc: the lower bound is 0.43"]
    overridden = release(api, checkpoint_id=made, override_reason="the incident of today needs it")
    assert overridden.status_code == 201


@pytest.mark.parametrize("body", [{}, {"rollback": False}])
def test_a_release_of_nothing_is_invalid(api, body):
    assert release(api, **body).status_code == 422


def test_what_cannot_be_is_refused(api, tmp_path):
    assert release(api, rollback=True).json()["code"] == "nothing_to_roll_back_to"
    made = str(checkpoint(tmp_path, "acme"))
    release(api, checkpoint_id=made)
    assert release(api, checkpoint_id=made).json()["code"] == "live_already"
    assert release(api, checkpoint_id=made, rollback=True).status_code == 422


def test_only_a_key_for_releases_ships(api, key, tmp_path):
    body = {"checkpoint_id": str(checkpoint(tmp_path, "acme"))}

    assert api.post("/v1/releases", json=body, headers=key("runs:write", project="acme")).status_code == 403
    assert api.post("/v1/releases", json=body, headers=key("releases:write", project="acme")).status_code == 201


def test_a_release_that_is_sent_twice_under_one_key_is_made_once(api, tmp_path):
    made = str(checkpoint(tmp_path, "acme"))

    def ship():
        headers = {"Idempotency-Key": "release-of-today"}
        return api.post("/v1/releases", params=PROJECT, json={"checkpoint_id": made}, headers=headers)

    first, second = ship(), ship()

    assert (first.status_code, second.status_code, second.headers["Idempotency-Replayed"]) == (201, 201, "true")
    assert first.json() == second.json()
    assert len(api.get("/v1/releases", params=PROJECT).json()["items"]) == 2


def test_a_canary_is_shown_beside_the_live_release_and_each_actor_gets_its_release(api, admin_key, tmp_path):
    before = current(api)
    made = str(checkpoint(tmp_path, "acme"))

    assert release(api, checkpoint_id=made, share=0.5).json()["action"] == "canary"

    shown = current(api, **{"If-None-Match": before.headers["ETag"]})
    assert (shown.status_code, shown.json()["number"], shown.json()["canary"]["checkpoint_id"]) == (200, 1, made)
    given = [
        api.get("/v1/releases/assignment", params={**PROJECT, "actor": f"actor-{number}"}).json()
        for number in range(20)
    ]
    assert {(each["canary"], each["release_number"]) for each in given} == {(True, 2), (False, 1)}
    assert "canary</strong>" in api.get("/", params=PROJECT, auth=("anybody", admin_key)).text


@pytest.mark.parametrize(
    ("body", "pointer"),
    [({"share": 0.5, "rollback": True}, ""), ({"share": 1}, "/share"), ({"share": 0}, "/share")],
)
def test_a_share_that_is_none_is_a_422_that_names_it(api, body, pointer):
    answer = release(api, **body)

    assert answer.status_code == 422
    assert pointer in answer.text
    assert api.get("/v1/releases/assignment", params={**PROJECT, "actor": ""}).status_code == 422
