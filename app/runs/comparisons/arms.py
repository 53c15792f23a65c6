"""The known arms of a comparison, and the recipe changes of an arm. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from thumbwheel import wire
from thumbwheel.wire.recipe import WITHOUT_LAMBDA, ObjectiveName, Recipe, RecipeFields

from app.checkpoints.few_shots import FEW_SHOTS
from app.errors import Fault, Invalid

#: The arm that is the reference itself.
UNTOUCHED = "untouched"
#: The arms that nothing is trained for: the reference by itself, and with examples before each prompt.
UNTRAINED = frozenset({UNTOUCHED, FEW_SHOTS})
#: Examples of the arm few_shots, if neither it nor the project says how many.
EXAMPLES = 4
#: The changes of each known arm. The margin of simpo is per token, so its beta is of another order.
KNOWN: Mapping[str, Mapping[str, Any]] = {
    "kto": {"objective": "kto"},
    "dpo": {"objective": "dpo"},
    "ipo": {"objective": "ipo"},
    "simpo": {"objective": "simpo", "beta": 2.0},
    "orpo": {"objective": "orpo"},
    "sft": {"objective": "sft"},
    "bco": {"objective": "bco"},
    "apo_zero_unpaired": {"objective": "apo_zero_unpaired"},
}
#: Fields that an objective without class weights must leave at these values.
WITHOUT_CLASSES: Mapping[str, Any] = {"lambda_desirable": "auto", "lambda_undesirable": "auto", "balance": "weights"}
#: The field that an objective of whole rows must leave at this value.
BY_ROW: Mapping[str, Any] = {"edit_kept_weight": 1.0}
#: Fields of kto that any other objective must leave at these values.
OF_KTO: Mapping[str, Any] = {"mislabelled_good": 0.0, "mislabelled_bad": 0.0}


def changes_of_arms(arms: Sequence[wire.NewArm], project: Recipe) -> list[dict[str, Any] | None]:
    """Returns the recipe changes of each arm over the project's recipe; None for those that are not trained.

    Raises `Invalid` for an unknown name without changes or a base model, for what an arm does not take, and if no arm
    is trained from the job's reference: the run of such an arm measures the arms that are not trained.
    """
    faults = [
        Fault(f"/arms/{number}", message) for number, arm in enumerate(arms) if (message := _fault(arm)) is not None
    ]
    if all(arm.name in UNTRAINED or arm.base_model is not None for arm in arms):
        faults.append(Fault("/arms", "no arm is trained from the shipped checkpoint: add kto, for example"))
    if faults:
        listed = "; ".join(f"{fault.pointer}: {fault.message}" for fault in faults)
        raise Invalid(f"The arms are wrong: {listed}.", code="invalid_arms", faults=faults)
    return [None if arm.name in UNTRAINED else _changes(arm, project) for arm in arms]


def examples_of(arm: wire.NewArm, project: Recipe) -> int:
    """Returns the number of examples of the arm few_shots; 0 for other arms."""
    if arm.name != FEW_SHOTS:
        return 0
    given = arm.changes.given().get("evaluation", {}).get("few_shots")
    return int(given or project.evaluation.few_shots or EXAMPLES)


def _fault(arm: wire.NewArm) -> str | None:
    given = arm.changes.given()
    if arm.name in UNTRAINED and arm.base_model is not None:
        return f"{arm.name} is the shipped checkpoint: leave base_model out, or give the arm another name"
    if arm.name == UNTOUCHED and given:
        return "untouched is the reference itself: leave its changes out, or give the arm another name"
    if arm.name == FEW_SHOTS:
        of_evaluation = given.pop("evaluation", {})
        if given or of_evaluation.keys() - {"few_shots"} or of_evaluation.get("few_shots") == 0:
            return "few_shots trains nothing: change evaluation.few_shots alone, from 1 to 16, or give it another name"
        return None
    if arm.name in (*KNOWN, UNTOUCHED) or given or arm.base_model is not None:
        return None
    known = ", ".join([*KNOWN, UNTOUCHED, FEW_SHOTS])
    return f"there is no arm {arm.name!r}: take one of {known}, or give it changes or a base model"


def _changes(arm: wire.NewArm, project: Recipe) -> dict[str, Any]:
    changes = {**KNOWN.get(arm.name, {}), **arm.changes.given()}
    objective = cast(ObjectiveName, changes.get("objective", project.objective))
    needed = {
        **(WITHOUT_CLASSES if objective in WITHOUT_LAMBDA else {}),
        **({} if objective == "tkto" else BY_ROW),
        **({} if objective == "kto" else OF_KTO),
    }
    fitted = {
        name: value
        for name, value in needed.items()
        if getattr(project, name) not in (value, 1.0) and name not in changes
    }
    return {**changes, **fitted}


def budget_changes(budget: wire.ArmBudget, recipe: Recipe, rows: int) -> tuple[dict[str, Any], list[str]]:
    """Returns the recipe fields that keep an arm within the budget, and what the arm gets, in words.

    rows  the labelled training rows of the snapshot

    Raises `Invalid` if the budget does not allow a single step.
    """
    faults = []
    if budget.votes is not None and budget.votes < recipe.batch_size:
        faults.append(_too_small("votes", budget.votes, f"the {recipe.batch_size} rows of a step", recipe.batch_size))
    if budget.tokens is not None and budget.tokens < 2 * recipe.batch_size:
        least = 2 * recipe.batch_size
        faults.append(_too_small("tokens", budget.tokens, f"{recipe.batch_size} rows of two tokens", least))
    if faults:
        listed = "; ".join(f"{fault.pointer}: {fault.message}" for fault in faults)
        raise Invalid(f"The budget is too small: {listed}.", code="budget_too_small", faults=faults)
    changes: dict[str, Any] = {}
    words = []
    if budget.votes is not None and budget.votes < rows:
        changes["prompt_share"] = min(recipe.prompt_share, budget.votes / rows)
        words.append(f"about {budget.votes:,} of {rows:,} labelled rows ({changes['prompt_share']:.1%} of the prompts)")
    else:
        words.append(f"all {rows:,} labelled rows")
    words.append(_USES.get(recipe.objective, "learns from all of them"))
    if budget.tokens is not None:
        changes["max_tokens"] = min(budget.tokens, recipe.max_tokens or budget.tokens)
        words.append(f"at most {changes['max_tokens']:,} tokens")
    steps = min(budget.steps, recipe.max_steps or budget.steps) if budget.steps is not None else recipe.max_steps
    if budget.steps is not None:
        changes["max_steps"] = steps
    epochs = f"{recipe.epochs} epoch{'s' * (recipe.epochs > 1)}"
    most = f", at most {steps:,}" if steps else ""
    return changes, [*words, f"{epochs} in steps of {recipe.batch_size} rows{most}"]


_USES = {
    "sft": "learns from the desirable ones of them",
    **dict.fromkeys(("dpo", "ipo", "slic", "simpo", "orpo"), "learns from the pairs among them"),
}


def _too_small(name: str, value: int, what: str, least: int) -> Fault:
    return Fault(f"/budget/{name}", f"{value:,} are fewer than {what}: give {least:,} at least, or lower batch_size")


def differing(recipe: Recipe, project: Recipe) -> dict[str, Any]:
    """Returns the fields of `recipe` that differ from the project's recipe, as JSON has them."""
    document, before = recipe.model_dump(mode="json"), project.model_dump(mode="json")
    return {name: document[name] for name in RecipeFields.model_fields if document[name] != before[name]}
