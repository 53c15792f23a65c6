"""Recipes over HTTP: their fields in the OpenAPI document, and the errors of an invalid change."""

import json
from typing import Any

import pytest
from fastapi.testclient import TestClient
from thumbwheel.wire import Recipe

from tests.desk import execute, vote

PLACES = [
    ("NewRun", "changes"),
    ("RecipeChoice", "changes"),
    ("StoredRecipeChoice", "changes"),
    ("Run", "recipe"),
]


@pytest.fixture(scope="module")
def schemas(document: dict[str, Any]) -> dict[str, Any]:
    return document["components"]["schemas"]


def resolved(schema: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    """Returns the schema to which `schema` refers."""
    return schemas[schema["$ref"].rpartition("/")[2]]


@pytest.mark.parametrize(("body", "field"), PLACES)
def test_the_document_names_every_field_of_a_recipe_with_its_range_and_meaning(schemas, body, field):
    expected = Recipe.model_json_schema(ref_template="#/components/schemas/{model}")

    stated = resolved(schemas[body]["properties"][field], schemas)

    without_defaults = [
        {name: {key: value for key, value in each.items() if key != "default"} for name, each in properties.items()}
        for properties in (stated["properties"], expected["properties"])
    ]
    assert without_defaults[0] == without_defaults[1]
    assert not stated.get("required")
    beta = stated["properties"]["beta"]
    assert (beta["type"], beta["exclusiveMinimum"], beta["maximum"]) == ("number", 0, 10)
    for name in ("Lora", "LabelTerm", "Drift", "Evaluation"):
        assert schemas[name]["properties"] == expected["$defs"][name]["properties"]


def test_the_document_says_no_default_of_a_field_that_is_left_out_of_changes(schemas):
    assert all("default" not in field for field in schemas["RecipeChanges"]["properties"].values())


@pytest.mark.parametrize(
    ("changes", "pointer", "text"),
    [
        ({"beta": -1}, "/beta", "it is -1, it has to be over 0 and at most 10 (strength"),
        ({"beta": None}, "/beta", "valid number"),
        ({"lora": {"rank": 0}}, "/lora/rank", "it is 0, it has to be from 1 to 1,024 (rank"),
        ({"labels": [{"name": "a", "weight": 0}]}, "/labels/0/weight", "it is 0, it has to be over 0"),
        ({"labels": [{"weight": 1}]}, "/labels/0/name", "Field required"),
        ({"a/b": 1}, "/a~1b", "there is no such field: remove it"),
        ({"batch_size": 33}, "/batch_size", "no multiple of micro_batch_size 8: set micro_batch_size to a divisor"),
    ],
)
def test_a_wrong_change_is_refused_with_the_pointer_of_its_field(api: TestClient, changes, pointer, text):
    recipe = {"changes": changes}
    new = {"project": "other", "base_model": "/models/base", "recipe": recipe}

    answers = {
        f"/recipe/changes{pointer}": [
            api.post("/v1/projects", json=new), api.patch("/v1/projects/acme", json={"recipe": recipe})
        ],
        f"/changes{pointer}": [api.post("/v1/runs", params={"project": "acme"}, json=recipe)],
    }  # fmt: skip

    for expected, refused in answers.items():
        for answer in refused:
            assert answer.status_code == 422
            (fault,) = answer.json()["errors"]
            assert fault["pointer"] == expected
            assert text in fault["message"]
    assert api.get("/v1/projects/other").status_code == 404
    assert execute("SELECT count(*) FROM runs") == [(0,)]


def test_recipes_and_changes_that_another_version_stored_are_shown_as_they_are(api: TestClient) -> None:
    # given a project and a run with fields that are unknown to this version or invalid
    changes = {"beta": -1, "momentum": 0.9, "lora": {"rank": 8, "dropout": 0.1}}
    recipe = {"objective": "kto", "method": "lora", "beta": 99, "momentum": 0.9}
    rules = {"minimum_per_class": 5, "holdout_share": 0.3}
    assert api.patch("/v1/projects/acme", json={"snapshot": rules}).status_code == 200
    vote(40, project="acme")
    run = api.post("/v1/runs", params={"project": "acme"}, json={}).json()
    stored = json.dumps({"preset": "full", "changes": changes})
    execute(
        "UPDATE projects SET configuration = jsonb_set(configuration, '{recipe}', CAST(:stored AS jsonb))",
        stored=stored,
    )
    execute("UPDATE runs SET recipe = CAST(:recipe AS jsonb)", recipe=json.dumps(recipe))

    # then both are shown, another section may be changed, and a new run is refused with the fields
    assert api.get("/v1/projects/acme").json()["recipe"] == {"preset": "full", "changes": changes}
    assert api.get(f"/v1/runs/{run['id']}", params={"project": "acme"}).json()["recipe"] == recipe
    trigger = api.patch("/v1/projects/acme", json={"trigger": {"new_per_class": 50}})
    assert (trigger.status_code, trigger.json()["recipe"]["changes"]) == (200, changes)
    assert api.post(f"/v1/runs/{run['id']}/cancel", params={"project": "acme"}).status_code == 202
    refused = api.post("/v1/runs", params={"project": "acme"}, json={})
    assert refused.status_code == 422
    assert refused.json()["code"] == "invalid_recipe"
    assert {fault["pointer"] for fault in refused.json()["errors"]} == {
        "/changes/beta", "/changes/momentum", "/changes/lora/dropout"
    }  # fmt: skip
