"""Recipe changes and stored recipes: parsing, serialization, and refused values."""

import hashlib
import json
from typing import Any

import pytest
from pydantic import ValidationError
from thumbwheel import wire
from thumbwheel.wire.recipe import PRESETS, recipe_of
from thumbwheel.wire.recipe_resolution import resolve

CHANGES = [
    {},
    {"beta": 0.2},
    {"max_steps": None},
    {"lora": {"rank": 8}, "schedule": "cosine"},
    {"lora": {}},
    {"lora": {"target_modules": ["q_proj", "v_proj"]}, "drift": {"checks": 0}},
    {"objective": "mo_kto", "labels": [{"name": "helpful"}, {"name": "honest", "weight": 0.5}]},
    {"learning_rate": "auto", "micro_batch_size": 4, "compile": True},
]

#: SHA-256 of the JSON of each preset before recipes were typed on the wire. Runs are compared by this hash.
CANONICAL = {
    "cpu-demo": "dce772aa9e5c8c3fecc1ca94de0b6378a81dd5123d86f459106f5bf6d55aa612",
    "lora-small": "4de685c284b4b6204e4a77462814e1d9a94586e4751e1e9eda9e3e7a7c74bdba",
    "lora-8b": "b15ec227a4688cbd899ebbec2531d45b9c9cc706b269fce3c0f7b33ebd16c75e",
    "full": "17d91816e33bd6cbb2ca3689cd43cb66517ecae97e3053bd8c172d5b03523060",
}


@pytest.mark.parametrize("changes", CHANGES)
def test_changes_are_written_as_they_were_given_and_nothing_is_added(changes: dict[str, Any]) -> None:
    new = wire.NewRun.model_validate({"changes": changes})
    choice = wire.RecipeChoice.model_validate_json(json.dumps({"preset": "full", "changes": changes}))

    assert new.changes.given() == changes
    assert new.model_dump(mode="json")["changes"] == changes
    assert json.loads(choice.model_dump_json()) == {"preset": "full", "changes": changes}


def test_typed_changes_make_the_recipe_that_the_same_document_makes() -> None:
    changes = wire.RecipeChanges(beta=0.2, lora=wire.Lora(rank=8), drift=wire.Drift(checks=0))

    assert changes.given() == {"beta": 0.2, "lora": {"rank": 8}, "drift": {"checks": 0}}
    assert recipe_of("lora-small", changes.given()).lora == wire.Lora(rank=8)


@pytest.mark.parametrize(
    ("changes", "place", "expected"),
    [
        (
            {"learning_rate": 5},
            "learning_rate",
            "it is 5, it has to be over 0 and under 1, or auto (auto: 1e-6 for full",
        ),
        ({"beta": 0}, "beta", "it is 0, it has to be over 0 and at most 10 (strength of the pull to the ref"),
        ({"beta": None}, "beta", "Input should be a valid number (it is None)"),
        ({"epochs": 1000}, "epochs", "it is 1000, it has to be from 1 to 100 (passes over the data; prefer"),
        ({"lora": {"rank": 0}}, "lora.rank", "it is 0, it has to be from 1 to 1,024 (rank r of the update"),
        ({"max_steps": 0}, "max_steps", "it is 0, it has to be at least 1 (stop after this many"),
        (
            {"micro_batch_size": 1},
            "micro_batch_size",
            "it is 1, it has to be from 2 to 1,024, or auto (rows of one for",
        ),
        (
            {"labels": [{"name": "a"}, {"name": "b", "weight": 0}]},
            "labels.1.weight",
            "it has to be over 0 and at most 1,0",
        ),
        ({"labels": [{"weight": 1}]}, "labels.0.name", "Field required"),
        ({"learning_rte": 1}, "learning_rte", "there is no such field: did you mean learning_rate?"),
        ({"drift": {"prompt": 3}}, "drift.prompt", "there is no such field: remove it"),
        (
            {"lora": {"target_modules": []}},
            "lora.target_modules",
            "'all-linear', or: Tuple should have at least 1 item",
        ),
    ],
)
def test_a_wrong_change_is_refused_at_its_field_with_its_range_and_what_it_is_about(
    changes: dict[str, Any], place: str, expected: str
) -> None:
    for model, document in ((wire.NewRun, {"changes": changes}), (wire.RecipeChoice, {"changes": changes})):
        with pytest.raises(ValidationError) as refused:
            model.model_validate(document)

        (fault,) = refused.value.errors()
        assert ".".join(map(str, fault["loc"])) == f"changes.{place}"
        assert expected in fault["msg"]


@pytest.mark.parametrize(
    "changes", [{"seed": 2**70}, {"lora": {"target_modules": ["\x00"]}}, {"adam_epsilon": float("inf")}]
)
def test_changes_that_no_database_keeps_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        wire.RecipeChanges.model_validate(changes)


@pytest.mark.parametrize(
    "stored",
    [
        {"beta": 0.1, "epochs": 2},
        {"beta": -1, "epochs": 2},
        {"beta": 0.1, "momentum": {"of": [1, None]}},
        {"lora": {"rank": 8, "dropout": 0.1}, "beta": 0.3},
        {"objective": "orpo", "batch_size": 33},
    ],
)
def test_a_recipe_of_another_version_is_read_and_written_as_it_was_stored(stored: dict[str, Any]) -> None:
    read = wire.StoredRecipe.model_validate(stored)

    assert read.given() == read.model_dump(mode="json") == stored
    assert json.loads(read.model_dump_json()) == stored
    assert read.beta == stored.get("beta", 0.1)


def test_a_whole_recipe_is_read_as_it_was_stored() -> None:
    recipe = resolve(recipe_of("lora-8b"), 280.0, 720.0).model_dump(mode="json")

    assert wire.StoredRecipe.model_validate(recipe).given() == recipe


@pytest.mark.parametrize("preset", PRESETS)
def test_the_json_of_a_recipe_is_the_same_byte_for_byte(preset: str) -> None:
    recipe = resolve(recipe_of(preset), 280.0, 720.0)

    newer: Any = {
        "max_tokens": True,
        "prompt_share": True,
        "weigh_up": True,
        "behaviour_correction": True,
        "edit_kept_weight": True,
        "mislabelled_good": True,
        "mislabelled_bad": True,
        "evaluation": {"temperature", "sample_minutes", "sample_tokens", "replay", "few_shots"},
    }
    known = recipe.model_dump_json(exclude=newer)

    assert hashlib.sha256(known.encode()).hexdigest() == CANONICAL[preset]
