"""The recipe: defaults, ranges, and what `auto` becomes."""

import pytest
from pydantic import ValidationError

from app.runs.recipe import BALANCE_BAND, PRESETS, Recipe, recipe_of, resolve


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_is_a_recipe_and_resolves(preset):
    resolved = resolve(recipe_of(preset), 280.0, 720.0)

    assert resolved.resolved
    assert Recipe.model_validate_json(resolved.model_dump_json()) == resolved


@pytest.mark.parametrize(("desirable", "undesirable"), [(280.0, 720.0), (720.0, 280.0), (1.0, 1.0), (3.5, 35.0)])
@pytest.mark.parametrize("given", [{}, {"lambda_desirable": 2.0}, {"lambda_undesirable": 3.0}])
def test_automatic_lambdas_put_the_classes_into_the_band(desirable, undesirable, given):
    resolved = resolve(recipe_of("full", given), desirable, undesirable)

    ratio = resolved.lambda_desirable * desirable / (resolved.lambda_undesirable * undesirable)
    assert BALANCE_BAND[0] <= ratio <= BALANCE_BAND[1]
    for name, value in given.items():
        assert getattr(resolved, name) == value


def test_balanced_batches_leave_lambda_alone():
    resolved = resolve(recipe_of("full", {"balance": "batch"}), 28.0, 72.0)

    assert (resolved.lambda_desirable, resolved.lambda_undesirable) == (1.0, 1.0)


def test_what_is_given_is_not_resolved_away():
    given = {"learning_rate": 3e-4, "lambda_desirable": 1.0, "lambda_undesirable": 1.0}

    assert resolve(recipe_of("full", given), 1.0, 9.0) == recipe_of("full", given)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"micro_batch_size": 1}, "greater than or equal to 2"),
        ({"beta": 0}, "greater than 0"),
        ({"lambda_desirable": -1}, "greater than 0"),
        ({"batch_size": 30, "micro_batch_size": 8}, "batch_size 30 is no multiple of micro_batch_size 8"),
        ({"objective": "ppo"}, "'kto'"),
        ({"learning_rte": 1e-5}, "Extra inputs are not permitted"),
    ],
)
def test_impossible_settings_are_refused_with_their_reason(changes, said):
    with pytest.raises(ValidationError, match=said):
        recipe_of("lora-small", changes)
