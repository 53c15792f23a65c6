"""The recipe: defaults, ranges, and the values that replace `auto`."""

from collections.abc import Iterator
from typing import Any, get_args

import pytest
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from thumbwheel.wire import recipe as recipes
from thumbwheel.wire.recipe import PAIRED, PRESETS, WITHOUT_LAMBDA, ObjectiveName, Recipe, recipe_of
from thumbwheel.wire.recipe_resolution import BALANCE_BAND, LEARNING_RATE_BY_METHOD, resolve

LABELS = [{"name": "helpful"}, {"name": "honest", "weight": 0.5}]
OBJECTIVES = get_args(ObjectiveName)


def needed_by(objective: str) -> dict[str, Any]:
    """Returns the objective and the other settings that it requires."""
    return {"objective": objective, **({"labels": LABELS} if objective == "mo_kto" else {})}


def refusal(changes: dict[str, Any], preset: str = "lora-small") -> str:
    with pytest.raises(ValidationError) as refused:
        recipe_of(preset, changes)
    return "; ".join(fault["msg"] for fault in refused.value.errors())


# -- presets and defaults ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_preset_is_a_recipe_of_every_objective_and_resolves(preset, objective):
    resolved = resolve(recipe_of(preset, needed_by(objective)), 280.0, 720.0)

    assert resolved.resolved
    assert Recipe.model_validate_json(resolved.model_dump_json()) == resolved


def test_the_presets_are_the_four_that_the_documents_name():
    assert list(PRESETS) == ["cpu-demo", "lora-small", "lora-8b", "full"]


def test_the_defaults_are_those_of_the_method():
    recipe = Recipe()

    assert (recipe.beta, recipe.batch_size, recipe.epochs) == (0.1, 32, 1)
    assert (recipe.max_gradient_norm, recipe.warmup_share, recipe.schedule) == (1.0, 0.1, "linear")
    assert (recipe.objective, recipe.balance, recipe.lora.rslora, recipe.lora.dora) == ("kto", "weights", False, False)


def test_a_recipe_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        Recipe().beta = 0.2  # type: ignore[misc]


def fields_of(section: type[BaseModel]) -> Iterator[tuple[str, FieldInfo]]:
    for name, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            assert field.annotation.__doc__, name
        else:
            yield f"{section.__name__}.{name}", field


@pytest.mark.parametrize(
    "section", [recipes.Recipe, recipes.Lora, recipes.LabelTerm, recipes.Drift, recipes.Evaluation]
)
def test_every_field_says_what_it_is_for(section):
    for name, field in fields_of(section):
        assert field.description, name


# -- auto -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["lora", "full"])
def test_the_automatic_learning_rate_is_the_methods(method):
    resolved = resolve(recipe_of("lora-small", {"method": method}), 1.0, 1.0)

    assert resolved.learning_rate == LEARNING_RATE_BY_METHOD[method] == {"lora": 1e-5, "full": 1e-6}[method]


@pytest.mark.parametrize(("desirable", "undesirable"), [(280.0, 720.0), (720.0, 280.0), (1.0, 1.0), (3.5, 35.0)])
@pytest.mark.parametrize("given", [{}, {"lambda_desirable": 2.0}, {"lambda_undesirable": 3.0}])
def test_automatic_lambdas_that_may_weigh_either_class_up_put_them_into_the_band(desirable, undesirable, given):
    resolved = resolve(recipe_of("full", {"weigh_up": "either", **given}), desirable, undesirable)

    ratio = resolved.lambda_desirable * desirable / (resolved.lambda_undesirable * undesirable)
    assert BALANCE_BAND[0] <= ratio <= BALANCE_BAND[1]
    for name, value in given.items():
        assert getattr(resolved, name) == value


def test_both_automatic_lambdas_leave_the_commoner_class_at_1():
    resolved = resolve(recipe_of("full"), 280.0, 720.0)

    assert resolved.lambda_undesirable == 1.0
    assert resolved.lambda_desirable == pytest.approx(2.969, abs=0.001)


def test_rare_undesirable_rows_are_not_weighed_up_where_only_desirable_ones_may_be():
    either = recipe_of("lora-small", {"weigh_up": "either"})
    one_sided = recipe_of("lora-small")
    fixed, other = (recipe_of("lora-small", {f"lambda_{side}": 2.0}) for side in ("desirable", "undesirable"))

    def lambdas(recipe, *weights):
        resolved = resolve(recipe, *weights)
        return resolved.lambda_desirable, resolved.lambda_undesirable

    assert lambdas(one_sided, 700, 300) == (1.0, 1.0)
    assert lambdas(one_sided, 300, 700) == lambdas(either, 300, 700)
    assert lambdas(fixed, 700, 300) == lambdas(other, 700, 300) == (2.0, 2.0)
    assert lambdas(either, 700, 300)[1] > 2


def test_balanced_batches_leave_lambda_alone():
    resolved = resolve(recipe_of("full", {"balance": "batch"}), 28.0, 72.0)

    assert (resolved.lambda_desirable, resolved.lambda_undesirable) == (1.0, 1.0)


def test_what_is_given_is_not_resolved_away():
    given = {"learning_rate": 3e-4, "lambda_desirable": 1.0, "lambda_undesirable": 1.0}

    assert resolve(recipe_of("full", given), 1.0, 9.0) == recipe_of("full", given)


def test_a_micro_batch_of_auto_is_left_for_the_trainer_to_measure():
    resolved = resolve(recipe_of("lora-8b"), 1.0, 1.0)

    assert resolved.resolved
    assert resolved.micro_batch_size == "auto"


# -- what objectives require ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("objective", sorted(WITHOUT_LAMBDA))
def test_an_objective_that_weighs_no_classes_resolves_to_1_even_where_there_is_one_class(objective):
    resolved = resolve(recipe_of("lora-small", needed_by(objective)), 40.0, 0.0)

    assert (resolved.lambda_desirable, resolved.lambda_undesirable) == (1.0, 1.0)
    assert Recipe.model_validate_json(resolved.model_dump_json()) == resolved


@pytest.mark.parametrize("objective", sorted(WITHOUT_LAMBDA))
def test_weights_of_classes_are_refused_where_there_are_none_to_weigh(objective):
    message = refusal({**needed_by(objective), "lambda_undesirable": 1.5})
    assert f"lambda_undesirable has no meaning for {objective}, which weighs no classes: leave it out" in message

    message = refusal({**needed_by(objective), "balance": "batch"})
    assert f"balance batch has no meaning for {objective}: set balance to weights" in message


@pytest.mark.parametrize("objective", sorted(set(OBJECTIVES) - WITHOUT_LAMBDA))
def test_every_other_objective_takes_weights_of_classes_and_balanced_batches(objective):
    recipe = recipe_of("lora-small", {"objective": objective, "lambda_desirable": 2.0, "balance": "batch"})

    assert resolve(recipe, 10.0, 1.0).lambda_desirable == 2.0


@pytest.mark.parametrize("objective", sorted(PAIRED))
def test_a_batch_that_would_split_a_pair_is_refused_with_the_next_even_one(objective):
    message = refusal({"objective": objective, "batch_size": 30, "micro_batch_size": 5})
    assert f"micro_batch_size 5 is odd, {objective} takes pairs of rows: set micro_batch_size to 6" in message

    message = refusal({"objective": objective, "batch_size": 33, "micro_batch_size": "auto"})
    assert f"batch_size 33 is odd, {objective} takes pairs of rows: set batch_size to 34" in message

    assert recipe_of("lora-small", {"batch_size": 30, "micro_batch_size": 5}).micro_batch_size == 5


def test_labels_belong_to_the_objective_that_learns_several():
    assert "labels is empty, mo_kto learns several labels together" in refusal({"objective": "mo_kto"})
    assert "labels is for mo_kto alone, objective is dpo" in refusal({"objective": "dpo", "labels": LABELS})
    assert "labels names honest twice" in refusal({"objective": "mo_kto", "labels": [*LABELS, {"name": "honest"}]})
    assert recipe_of("lora-small", {"objective": "mo_kto", "labels": LABELS}).labels[1].weight == 0.5


# -- impossible settings ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"micro_batch_size": 1}, "greater than or equal to 2"),
        ({"micro_batch_size": "most"}, "'auto'"),
        ({"beta": 0}, "greater than 0"),
        ({"beta": float("nan")}, "finite number"),
        ({"lambda_desirable": -1}, "greater than 0"),
        ({"learning_rate": 0}, "greater than 0"),
        ({"learning_rate": 1}, "less than 1"),
        ({"clip_range": 1}, "less than 1"),
        ({"simpo_gamma": -0.1}, "greater than or equal to 0"),
        ({"adam_epsilon": float("inf")}, "finite number"),
        ({"batch_size": 30, "micro_batch_size": 8}, "batch_size 30 is no multiple of micro_batch_size 8"),
        ({"objective": "ppo"}, "'kto'"),
        ({"learning_rte": 1e-5}, "Extra inputs are not permitted"),
        ({"lora": {"dropout": 0.1}}, "Extra inputs are not permitted"),
        ({"lora": {"target_modules": []}}, "at least 1 item"),
        ({"drift": {"prompts": 0}}, "greater than or equal to 1"),
        ({"objective": "mo_kto", "labels": [{"name": ""}]}, "at least 1 character"),
        ({"objective": "mo_kto", "labels": [{"name": "a", "lambda_desirable": 0}]}, "greater than 0"),
    ],
)
def test_impossible_settings_are_refused_with_their_reason(changes, said):
    assert said in refusal(changes)
