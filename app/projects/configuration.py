"""Rules for a project's configuration and its changes. Pure."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from thumbwheel import wire
from thumbwheel.wire.recipe import PRESETS, Recipe, recipe_of
from thumbwheel.wire.recipe_faults import recipe_faults

from app.errors import Fault, pointer_part

#: Sections that a change of the project replaces; gates have a ledger of their own.
SECTIONS = set(wire.ProjectConfiguration.model_fields)


def changed(document: Mapping[str, Any], change: wire.ProjectChange) -> dict[str, Any]:
    """Returns the stored document with the sections of the change, each of which replaces the stored one as a whole."""
    given = {name for name in SECTIONS if getattr(change, name) is not None}
    return {**document, **change.model_dump(mode="json", include=given)}


def faults_of_recipe(preset: str, changes: Mapping[str, Any]) -> list[Fault]:
    """Returns the faults of preset and changes, with JSON pointers into the choice of a recipe."""
    if preset not in PRESETS:
        return [Fault("/preset", f"there is no preset {preset!r}: choose one of {', '.join(PRESETS)}")]
    try:
        valid = recipe_of(preset, changes)
    except ValidationError as error:
        return [Fault(_pointer(fault.place), fault.message) for fault in recipe_faults(Recipe, error)]
    if valid.objective == "mo_kto":
        what = "mo_kto learns several labels of each row together, feedback gives one: choose kto"
        return [Fault("/changes/objective", f"{what}, or train from files with `thumbwheel train`")]
    return []


def _pointer(place: tuple[int | str, ...]) -> str:
    return "/".join(["/changes", *(pointer_part(str(part)) for part in place)])
