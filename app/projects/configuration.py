"""Rules for a project's configuration and its changes. Pure."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError
from thumbwheel import wire
from thumbwheel.wire.recipe import PRESETS, Recipe, recipe_of
from thumbwheel.wire.recipe_faults import recipe_faults

from app.errors import Fault, pointer_part
from app.merge_patch import merge_patch

#: Sections of a configuration; gates have a ledger of their own.
SECTIONS = set(wire.ProjectConfiguration.model_fields)
#: Sections that a change merges with the stored ones.
MERGED: Mapping[str, type[BaseModel]] = {
    "trigger": wire.TriggerRules,
    "snapshot": wire.SnapshotRules,
    "monitoring": wire.MonitoringRules,
    "limits": wire.FeedbackLimits,
    "retention": wire.RetentionRules,
}
#: Sections that a change replaces whole: a field that is left out of them has its default.
REPLACED = (SECTIONS & wire.ProjectChange.model_fields.keys()) - MERGED.keys() - {"gates"}


class ImpossibleChangeError(ValueError):
    """The fields of a change that do not fit with the stored ones."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("; ".join(f"{fault.pointer}: {fault.message}" for fault in faults))
        self.faults = faults


def changed(document: Mapping[str, Any], change: wire.ProjectChange) -> dict[str, Any]:
    """Returns the stored document with the sections of the change. Raises `ImpossibleChangeError`."""
    given = {name for name in REPLACED if getattr(change, name) is not None}
    sections = {**document, **change.model_dump(mode="json", include=given)}
    for name, model in MERGED.items():
        patch = getattr(change, name)
        if patch is not None:
            merged = merge_patch(document.get(name), patch.model_dump(mode="json", exclude_unset=True))
            sections[name] = _valid(name, model, merged)
    return sections


def _valid(section: str, model: type[BaseModel], document: Any) -> dict[str, Any]:
    try:
        return model.model_validate(document).model_dump(mode="json")
    except ValidationError as error:
        raise ImpossibleChangeError(
            [
                Fault(
                    "".join(f"/{pointer_part(str(part))}" for part in (section, *fault["loc"])),
                    fault["msg"].removeprefix("Value error, "),
                )
                for fault in error.errors()
            ]
        ) from error


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
