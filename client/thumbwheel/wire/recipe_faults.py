"""The faults of a recipe in words: the value of a field, the whole range that it may have, and what it is for."""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

#: pydantic's types of faults of numbers outside of a range.
OUTSIDE = {"greater_than", "greater_than_equal", "less_than", "less_than_equal"}
#: The bounds of a field, in words.
BOUNDS = {"gt": "over", "ge": "at least", "lt": "under", "le": "at most"}


class RecipeFault(NamedTuple):
    """A wrong field: `place` is the way to it in the document, empty for the document itself."""

    place: tuple[int | str, ...]
    code: Literal["invalid_recipe", "missing"]
    message: str
    value: Any


def recipe_faults(model: type[BaseModel], error: ValidationError) -> list[RecipeFault]:
    """Returns one fault for each wrong field of a recipe of the class `model`."""
    by_place: dict[tuple[int | str, ...], list[ErrorDetails]] = {}
    for fault in error.errors():
        by_place.setdefault(_place(model, fault), []).append(fault)
    return [
        RecipeFault(
            place,
            "missing" if faults[0]["type"] == "missing" else "invalid_recipe",
            _message(model, place, faults),
            faults[0]["input"],
        )
        for place, faults in by_place.items()
    ]


def _place(model: type[BaseModel], fault: ErrorDetails) -> tuple[int | str, ...]:
    """Returns where the document has the faulty value.

    pydantic also names the branch of a union, which no document has. A rule about several fields names none; its
    sentence begins with the field that it is about.
    """
    place: list[int | str] = []
    section: type[BaseModel] | None = model
    for part in fault["loc"]:
        field = section.model_fields.get(part) if section is not None and isinstance(part, str) else None
        if field is not None:
            section = _section(field)
        if field is not None or isinstance(part, int) or fault["type"] == "extra_forbidden":
            place.append(part)
    first = _sentence(fault).split()[0]
    return tuple(place) if place else (first,) if first in model.model_fields else ()


def _message(model: type[BaseModel], place: Sequence[int | str], faults: Sequence[ErrorDetails]) -> str:
    """Returns all that is wrong in one place: each branch of a union says what it would have taken."""
    first = faults[0]
    if first["type"] == "extra_forbidden":
        near = get_close_matches(str(place[-1]), model.model_fields, 1) if len(place) == 1 else []
        return "there is no such field" + (f": did you mean {near[0]}?" if near else ": remove it")
    if isinstance(first["input"], dict | list | tuple):
        return ", or: ".join(map(_sentence, faults))
    field = _field(model, place)
    if field is not None and any(fault["type"] in OUTSIDE for fault in faults):
        return f"it is {first['input']!r:.100}, it has to be {_range(field)} ({field.description})"
    return ", or: ".join(map(_sentence, faults)) + f" (it is {first['input']!r:.100})"


def _field(model: type[BaseModel], place: Sequence[int | str]) -> FieldInfo | None:
    """Returns the field at `place`, None where there is none."""
    section: type[BaseModel] | None = model
    field = None
    for part in place:
        if isinstance(part, str):
            field = section.model_fields.get(part) if section is not None else None
            section = None if field is None else _section(field)
    return field


def _section(field: FieldInfo) -> type[BaseModel] | None:
    """Returns the model of a field that holds a section of the recipe, or a list of them; None for any other."""
    for kind in (field.annotation, *get_args(field.annotation)):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None


def _range(field: FieldInfo) -> str:
    """Returns the range of a field in words."""
    rules = list(field.metadata)
    others: list[str] = []
    for branch in get_args(field.annotation):
        if get_origin(branch) is Annotated:
            rules += [rule for info in branch.__metadata__ for rule in getattr(info, "metadata", [info])]
        elif get_origin(branch) is Literal:
            others += map(str, get_args(branch))
    bounds = {name: _number(getattr(rule, name)) for name in BOUNDS for rule in rules if hasattr(rule, name)}
    if set(bounds) == {"ge", "le"}:
        numbers = f"from {bounds['ge']} to {bounds['le']}"
    else:
        numbers = " and ".join(f"{BOUNDS[name]} {bound}" for name, bound in bounds.items())
    return ", or ".join([numbers, *others])


def _number(bound: float) -> str:
    """Returns a number with commas, and without a fraction where there is none."""
    return f"{bound:,.15g}"


def _sentence(fault: ErrorDetails) -> str:
    return fault["msg"].removeprefix("Value error, ")
