"""What a project's configuration must fulfil, and how a change is laid over it. Pure."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from thumbwheel import wire
from thumbwheel.wire.recipe import PRESETS, Recipe, recipe_of

from app.errors import Fault

#: Faults of numbers outside of a range.
OUTSIDE = {"greater_than", "greater_than_equal", "less_than", "less_than_equal"}
#: A bound in JSON schema, and how it is said.
SAID = {"exclusiveMinimum": "over", "minimum": "at least", "exclusiveMaximum": "under", "maximum": "at most"}


def changed(configuration: wire.ProjectConfiguration, change: wire.ProjectChange) -> wire.ProjectConfiguration:
    """Sections that the change gives replace the stored ones whole."""
    given = {
        name: section
        for name in wire.ProjectConfiguration.model_fields
        if (section := getattr(change, name)) is not None
    }
    return configuration.model_copy(update=given)


def faults_of_recipe(recipe: wire.RecipeChoice) -> list[Fault]:
    """What is wrong with preset and changes, as JSON pointers into the configuration; empty where nothing is."""
    if recipe.preset not in PRESETS:
        return [Fault("/recipe/preset", f"there is no preset {recipe.preset!r}: choose one of {', '.join(PRESETS)}")]
    try:
        valid = recipe_of(recipe.preset, recipe.changes)
    except ValidationError as error:
        at: dict[str, list[ErrorDetails]] = {}
        for fault in error.errors():
            at.setdefault(_pointer(fault), []).append(fault)
        return [Fault(pointer, _message(faults)) for pointer, faults in at.items()]
    if valid.objective == "mo_kto":
        what = "mo_kto learns several labels of each row together, feedback gives one: choose kto"
        return [Fault("/recipe/changes/objective", f"{what}, or train from files with `thumbwheel train`")]
    return []


def _pointer(fault: ErrorDetails) -> str:
    """pydantic puts the branches of a union (``constrained-float``) into the location: nobody wrote those. A sentence
    about several fields has no location; it begins with the field that it is about.
    """
    written = [str(part) for part in fault["loc"] if isinstance(part, int) or part.isidentifier()]
    first = _sentence(fault).split()[0]
    if not written and first in Recipe.model_fields:
        written = [first]
    return "/".join(["/recipe/changes", *written])


def _message(faults: Sequence[ErrorDetails]) -> str:
    """Of all that is wrong in one place: the branches of a union say each what they would have taken."""
    first = faults[0]
    if first["type"] == "extra_forbidden":
        near = get_close_matches(str(first["loc"][-1]), Recipe.model_fields, 1) if len(first["loc"]) == 1 else []
        return "there is no such field" + (f": did you mean {near[0]}?" if near else ": remove it")
    if isinstance(first["input"], dict | list):
        value = ""
    elif any(fault["type"] in OUTSIDE for fault in faults):
        field = _schema_at(first["loc"])
        return f"it is {first['input']!r:.100}, it has to be {_range(field)} ({field['description']})"
    else:
        value = f" (it is {first['input']!r:.100})"
    return ", or: ".join(map(_sentence, faults)) + value


def _schema_at(location: Sequence[int | str]) -> dict[str, Any]:
    """JSON schema of a field of the recipe. What stands behind it in the location is a branch of its union."""
    whole = Recipe.model_json_schema()
    field = found = whole
    for name in location:
        found = found["items"] if isinstance(name, int) else found.get("properties", {}).get(name)
        if found is None:
            break
        field = found
        if "$ref" in found:
            found = whole["$defs"][found["$ref"].rpartition("/")[2]]
    return field


def _range(field: Mapping[str, Any]) -> str:
    """As people say it."""
    branches = [field, *field.get("anyOf", [])]
    bounds = {name: _number(branch[name]) for branch in branches for name in SAID if name in branch}
    others = [str(branch["const"]) for branch in branches if "const" in branch]
    if set(bounds) == {"minimum", "maximum"}:
        said = f"from {bounds['minimum']} to {bounds['maximum']}"
    else:
        said = " and ".join(f"{words} {bounds[name]}" for name, words in SAID.items() if name in bounds)
    return ", or ".join([said, *others])


def _number(bound: float) -> str:
    """With commas, and no fraction where there is none."""
    return f"{bound:,.15g}"


def _sentence(fault: ErrorDetails) -> str:
    return fault["msg"].removeprefix("Value error, ")
