"""What a project's configuration must fulfil, and how a change is laid over it. Pure."""

from pydantic import ValidationError
from thumbwheel import wire

from app.errors import Fault
from app.runs.recipe import PRESETS, recipe_of


def changed(configuration: wire.ProjectConfiguration, change: wire.ProjectChange) -> wire.ProjectConfiguration:
    """Sections that the change gives replace the stored ones whole."""
    given = {
        name: section for name in wire.ProjectChange.model_fields if (section := getattr(change, name)) is not None
    }
    return configuration.model_copy(update=given)


def faults_of_recipe(recipe: wire.RecipeChoice) -> list[Fault]:
    """What is wrong with preset and changes, as JSON pointers into the configuration; empty where nothing is."""
    if recipe.preset not in PRESETS:
        return [Fault("/recipe/preset", f"there is no preset {recipe.preset!r}: choose one of {', '.join(PRESETS)}")]
    try:
        recipe_of(recipe.preset, recipe.changes)
    except ValidationError as error:
        said: dict[str, list[str]] = {}
        for fault in error.errors():
            said.setdefault(_pointer(fault["loc"]), []).append(fault["msg"].removeprefix("Value error, "))
        return [Fault(pointer, ", or: ".join(messages)) for pointer, messages in said.items()]
    return []


def _pointer(location: tuple[int | str, ...]) -> str:
    """pydantic puts the branches of a union (``constrained-float``) into the location: nobody wrote those."""
    written = [str(part) for part in location if isinstance(part, int) or part.isidentifier()]
    return "/".join(["/recipe/changes", *written])
