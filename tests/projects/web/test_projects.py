"""Projects over HTTP, and the choice of the project of a request."""

from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from fastapi.testclient import TestClient
from thumbwheel.wire.recipe import ObjectiveName

from app import settings


def test_a_project_is_made_once_with_every_default_shown(api):
    made = api.post("/v1/projects", json={"project": "support", "base_model": "/models/tiny"})
    again = api.post("/v1/projects", json={"project": "support", "base_model": "/models/tiny"})

    assert made.status_code == 201
    assert made.json()["recipe"] == {"preset": "lora-small", "changes": {}}
    assert made.json()["snapshot"]["minimum_per_class"] == 200
    assert again.status_code == 409
    assert again.json()["code"] == "project_exists"
    assert api.get("/v1/projects/support").json() == made.json()


def test_a_wrong_recipe_is_refused_at_once_with_each_field(api):
    recipe = {"preset": "lora-small", "changes": {"beta": -1, "learning_rate": "fast", "lora": {"rank": 0}, "typo": 1}}

    answer = api.post("/v1/projects", json={"project": "support", "base_model": "/m", "recipe": recipe})

    assert answer.status_code == 422
    assert answer.json()["code"] == "invalid_recipe"
    assert {fault["pointer"] for fault in answer.json()["errors"]} == {
        "/recipe/changes/beta",
        "/recipe/changes/learning_rate",
        "/recipe/changes/lora/rank",
        "/recipe/changes/typo",
    }
    assert api.get("/v1/projects/support").status_code == 404


@pytest.mark.parametrize(
    ("changes", "pointer", "said"),
    [
        ({"objective": "ppo"}, "objective", "'dpo', 'ipo', 'slic', 'simpo' or 'orpo' (it is 'ppo')"),
        ({"micro_batch_size": "some"}, "micro_batch_size", "or: Input should be 'auto' (it is 'some')"),
        (
            {"micro_batch_size": 1},
            "micro_batch_size",
            "it is 1, it has to be from 2 to 1,024, or auto (rows of one forward; ",
        ),
        ({"objective": "dpo", "micro_batch_size": 1}, "micro_batch_size", "from 2 to 1,024"),
        (
            {"objective": "dpo", "batch_size": 33, "micro_batch_size": 3},
            "batch_size",
            "batch_size 33 is odd, dpo takes pairs of rows: set batch_size to 34",
        ),
        ({"objective": "dpo", "lambda_desirable": 2}, "lambda_desirable", "no meaning for dpo"),
        ({"objective": "sft", "balance": "batch"}, "balance", "no meaning for sft: set balance to weights"),
        ({"objective": "mo_kto"}, "labels", "name at least one in labels"),
        ({"objective": "mo_kto", "labels": [{"name": "helpful"}]}, "objective", "feedback gives one: choose kto"),
        ({"labels": [{"name": "helpful"}]}, "labels", "labels is for mo_kto alone"),
        ({"objective": "mo_kto", "labels": [{"name": "a", "weight": 0}]}, "labels/0/weight", "over 0 and at most 1,0"),
        ({"simpo_gamma": -1}, "simpo_gamma", "it is -1, it has to be from 0 to 10 "),
        ({"clip_range": 1}, "clip_range", "over 0 and under 1"),
        ({"lora": {"rslora": "perhaps"}}, "lora/rslora", "valid boolean"),
        ({"lora": {"dora": 3}}, "lora/dora", "valid boolean"),
        ({"lora": {"target_modules": []}}, "lora/target_modules", "'all-linear', or: Tuple should have at least 1"),
        ({"drift": {"checks": -1}}, "drift/checks", "from 0 to 1,000"),
        ({"drift": {"kl_budget": 0}}, "drift/kl_budget", "has to be over 0 "),
        ({"drift": {"prompt": 3}}, "drift/prompt", "there is no such field: remove it"),
        ({"learning_rte": 1}, "learning_rte", "there is no such field: did you mean learning_rate?"),
    ],
)
def test_what_no_objective_could_be_trained_with_is_refused_at_its_field(api, changes, pointer, said):
    answer = api.patch("/v1/projects/acme", json={"recipe": {"changes": changes}})

    assert answer.status_code == 422
    assert [fault["pointer"] for fault in answer.json()["errors"]] == [f"/recipe/changes/{pointer}"]
    assert said in answer.json()["errors"][0]["message"]


@pytest.mark.parametrize(
    "changes",
    [
        '{"adam_epsilon": NaN}',
        '{"drift": {"kl_budget": Infinity}}',
        r'{"lora": {"target_modules": ["\u0000"]}}',
        r'{"lora": {"target_modules": ["\ud800"]}}',
    ],
)
def test_what_the_database_cannot_keep_is_refused_before_it_gets_there(api, changes):
    sent = {"headers": {"Content-Type": "application/json"}}

    changed = api.patch("/v1/projects/acme", content=f'{{"recipe": {{"changes": {changes}}}}}', **sent)
    started = api.post("/v1/runs", params={"project": "acme"}, content=f'{{"changes": {changes}}}', **sent)

    assert (changed.status_code, started.status_code) == (422, 422)


@pytest.mark.parametrize("objective", [name for name in get_args(ObjectiveName) if name != "mo_kto"])
def test_a_project_may_learn_by_every_objective_that_feedback_has_rows_for(api, objective):
    answer = api.patch("/v1/projects/acme", json={"recipe": {"changes": {"objective": objective}}})

    assert answer.status_code == 200
    assert answer.json()["recipe"]["changes"] == {"objective": objective}


def test_an_unknown_preset_is_answered_with_those_there_are(api):
    answer = api.post("/v1/projects", json={"project": "x", "base_model": "/m", "recipe": {"preset": "huge"}})

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/recipe/preset"
    assert "cpu-demo, lora-small" in answer.json()["detail"]


def test_a_change_merges_the_fields_that_it_gives_and_leaves_the_others(api):
    before = api.get("/v1/projects/acme").json()
    monitoring = {"live_share": 0.9, "live_hours": 24, "segments": ["country"], "rollback": {"margin": 0.2}}
    api.patch("/v1/projects/acme", json={"monitoring": monitoring, "trigger": {"every_hours": 8}})

    api.patch("/v1/projects/acme", json={"trigger": {"new_per_class": 50}, "monitoring": {"live_hours": 48}})
    after = api.patch("/v1/projects/acme", json={"monitoring": {"segments": [], "rollback": {"grace_hours": 3}}}).json()

    assert after["trigger"] == {"new_per_class": 50, "every_hours": 8}
    assert (after["monitoring"]["live_share"], after["monitoring"]["live_hours"]) == (0.9, 48)
    assert after["monitoring"]["segments"] == []
    assert (after["monitoring"]["rollback"]["margin"], after["monitoring"]["rollback"]["grace_hours"]) == (0.2, 3)
    assert {name for name in before if after[name] != before[name]} == {"trigger", "monitoring"}
    assert api.get("/v1/projects/acme").json() == after


def test_null_unsets_a_field_and_the_merged_rules_have_to_fit(api):
    api.patch("/v1/projects/acme", json={"monitoring": {"live_share": 0.9, "live_hours": 24, "rollback": {}}})

    refused = api.patch("/v1/projects/acme", json={"monitoring": {"live_share": None}})
    after = api.patch("/v1/projects/acme", json={"monitoring": {"live_share": None, "live_hours": None}}).json()

    assert refused.status_code == 422
    assert refused.json()["errors"] == [
        {"pointer": "/monitoring", "message": "give both live_share and live_hours, or neither"}
    ]
    assert (after["monitoring"]["live_share"], after["monitoring"]["live_hours"]) == (None, None)
    assert after["monitoring"]["rollback"] is not None
    last = api.patch("/v1/projects/acme", json={"monitoring": {"rollback": None}, "snapshot": {"holdout_share": 0.2}})
    assert (last.json()["monitoring"]["rollback"], last.json()["snapshot"]["holdout_share"]) == (None, 0.2)


def test_a_recipe_is_replaced_whole_since_a_field_that_is_left_out_is_the_preset_s(api):
    api.patch("/v1/projects/acme", json={"recipe": {"changes": {"beta": 0.3}}})

    after = api.patch("/v1/projects/acme", json={"recipe": {"changes": {"epochs": 2}}}).json()

    assert after["recipe"]["changes"] == {"epochs": 2}


def test_a_wrong_change_changes_nothing(api):
    before = api.get("/v1/projects/acme").json()

    answer = api.patch(
        "/v1/projects/acme", json={"trigger": {"new_per_class": 5}, "recipe": {"changes": {"batch_size": 33}}}
    )

    assert answer.status_code == 422
    assert "micro_batch_size" in answer.json()["detail"]
    assert api.get("/v1/projects/acme").json() == before


def test_the_list_goes_by_name_in_pages(api):
    for name in ("zebra", "bee"):
        api.post("/v1/projects", json={"project": name, "base_model": "/m"})

    first = api.get("/v1/projects", params={"limit": 2}).json()
    second = api.get("/v1/projects", params={"limit": 2, "cursor": first["next_cursor"]}).json()

    assert [item["project"] for item in first["items"] + second["items"]] == ["acme", "bee", "zebra"]


@pytest.mark.parametrize("name", ["", "Acme", "a b", "-a", "a" * 64, "a\u0000", "ä"])
def test_a_name_that_is_no_slug_is_refused(api, name):
    answer = api.post("/v1/projects", json={"project": name, "base_model": "/m"})

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/project"


@pytest.mark.parametrize("name", ["nobody", "%00", "%ff", "a%2Fb", "x" * 300])
def test_an_unknown_project_is_not_found_however_it_is_spelt(api, name):
    assert api.get(f"/v1/projects/{name}").status_code == 404


def test_a_key_of_one_project_sees_that_one_and_makes_no_others(api, key):
    api.post("/v1/projects", json={"project": "other", "base_model": "/m"})
    headers = key("admin", project="acme")

    assert [item["project"] for item in api.get("/v1/projects", headers=headers).json()["items"]] == ["acme"]
    assert api.get("/v1/projects/acme", headers=headers).status_code == 200
    assert api.get("/v1/projects/other", headers=headers).status_code == 403
    assert api.patch("/v1/projects/other", headers=headers, json={}).status_code == 403
    assert api.post("/v1/projects", headers=headers, json={"project": "x", "base_model": "/m"}).status_code == 403


def test_a_request_is_about_the_project_of_its_key_else_about_the_one_it_names(api, key):
    bound = key("runs:read", project="acme")

    assert api.get("/v1/runs", headers=bound).status_code == 200
    assert api.get("/v1/runs", headers=bound, params={"project": "acme"}).status_code == 200
    assert api.get("/v1/runs", headers=bound, params={"project": "nobody"}).status_code == 403
    assert api.get("/v1/runs", params={"project": "acme"}).status_code == 200
    assert api.get("/v1/runs", params={"project": "nobody"}).status_code == 404
    unnamed = api.get("/v1/runs")
    assert unnamed.status_code == 422
    assert unnamed.json()["errors"] == [{"pointer": "project", "message": "is missing"}]


@pytest.fixture
def seen_here(api: TestClient) -> Iterator[TestClient]:
    """The API with a setting that makes it check the folders of base models."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("THUMBWHEEL_BASE_MODELS", "here")
        settings.current.cache_clear()
        yield api
    settings.current.cache_clear()


def test_a_base_model_is_looked_into_when_it_is_named(seen_here: TestClient, tmp_path: Path) -> None:
    missing = seen_here.post("/v1/projects", json={"project": "x", "base_model": str(tmp_path / "none")})
    empty = seen_here.post("/v1/projects", json={"project": "x", "base_model": str(tmp_path)})

    assert missing.status_code == 422
    assert missing.json()["code"] == "invalid_base_model"
    assert missing.json()["errors"][0]["pointer"] == "/base_model"
    assert "THUMBWHEEL_BASE_MODELS=on_workers" in missing.json()["detail"]
    assert len(empty.json()["errors"]) == 3  # config.json, weights, tokenizer


def test_the_name_of_a_model_on_a_hub_is_refused_wherever_folders_are_seen(api: TestClient) -> None:
    answer = api.post("/v1/projects", json={"project": "x", "base_model": "org/model"})

    assert answer.status_code == 422
    assert "looks like the name of a model on a hub" in answer.json()["detail"]


def test_an_archived_project_takes_no_feedback_starts_no_run_and_is_listed_as_such(api: TestClient) -> None:
    assert api.patch("/v1/projects/acme", json={"archived": True}).json()["archived_at"] is not None

    thumb = {"completion_id": "c", "actor": "a", "signal": {"kind": "thumbs", "value": "up"}}
    event = api.post("/v1/feedback?project=acme", json=thumb)
    run = api.post("/v1/runs?project=acme", json={})

    assert (event.status_code, event.json()["code"]) == (409, "project_archived")
    assert (run.status_code, run.json()["code"]) == (409, "project_archived")
    assert [item["project"] for item in api.get("/v1/projects?archived=true").json()["items"]] == ["acme"]
    assert api.get("/v1/projects?archived=false").json()["items"] == []
    assert api.get("/v1/feedback?project=acme").status_code == 200


def test_an_archived_project_that_is_opened_again_takes_feedback(api: TestClient) -> None:
    api.patch("/v1/projects/acme", json={"archived": True})

    assert api.patch("/v1/projects/acme", json={"archived": False}).json()["archived_at"] is None

    thumb = {"completion_id": "c", "actor": "a", "signal": {"kind": "thumbs", "value": "up"}}
    assert api.post("/v1/feedback?project=acme", json=thumb).status_code == 201


def test_another_base_model_begins_a_new_line_which_the_ledger_tells_of(api: TestClient) -> None:
    before = api.get("/v1/releases/current?project=acme").json()
    body = {"base_model": "/models/other", "reason": "a better one"}

    first = api.put("/v1/projects/acme/base-model", json=body)
    again = api.put("/v1/projects/acme/base-model", json=body)

    assert first.status_code == 200
    assert first.json() == again.json()
    assert first.json()["reason"] == f"base model /models/other instead of {before['base_model']}: a better one"
    current = api.get("/v1/releases/current?project=acme").json()
    assert (current["number"], current["action"], current["base_model"]) == (2, "start", "/models/other")
    assert current["checkpoint_id"] != before["checkpoint_id"]
    old = api.post("/v1/releases?project=acme", json={"checkpoint_id": before["checkpoint_id"]})
    assert (old.status_code, old.json()["code"]) == (409, "other_base_model")
    back = api.post("/v1/releases?project=acme", json={"rollback": True})
    assert (back.status_code, back.json()["code"]) == (409, "nothing_to_roll_back_to")
    api.put("/v1/projects/acme/base-model", json={"base_model": before["base_model"]})
    assert api.get("/v1/releases/current?project=acme").json()["checkpoint_id"] == before["checkpoint_id"]
