"""The request for a training: a JSON document made by `thumbwheel train`, and its recipe."""

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from thumbwheel.wire.recipe import PRESETS, Recipe, recipe_of

from worker.training.machine.process import TrainingRefusal


class TrainingRequest(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    data: tuple[Path, ...] = Field(min_length=1, description="files of rows")
    eval_data: tuple[Path, ...] = Field((), description="files of held-out rows; with them, all of data is trained on")
    holdout: float = Field(
        0.1, ge=0, lt=1, description="share of the prompts of data that is held out; 0 holds out none"
    )
    model: Path = Field(description="folder of the base model")
    reference: Path | None = Field(None, description="folder of the shipped adapter, None if the base was shipped")
    reuse: tuple[Path, ...] = Field((), description="outs of earlier calls, to take their reference's log-probs from")
    out: Path = Field(description="folder for the checkpoint, new or from an earlier call")
    preset: str = Field("lora-small", description="recipe to begin with")
    changes: dict[str, Any] = Field(default_factory=dict, description="fields of the recipe that differ")
    allow_imbalance: bool = Field(default=False, description="even if one class outweighs the other over ten times")
    evaluate: bool = Field(default=True, description="score the held-out rows at the end")
    restart: bool = Field(default=False, description="remove the results of an earlier call from out")
    as_json: bool = Field(default=False, description="the summary as JSON, also on a terminal")

    @property
    def holdout_share(self) -> float:
        """The share of the prompts of `data` that is held out."""
        return 0.0 if self.eval_data else self.holdout

    def recipe(self) -> Recipe:
        """Returns the recipe, with `auto` unresolved. Raises `TrainingRefusal` naming field, value and remedy."""
        if self.preset not in PRESETS:
            raise TrainingRefusal(
                "recipe", f"recipe: there is no preset {self.preset}: use one of {', '.join(PRESETS)}"
            )
        try:
            return recipe_of(self.preset, self.changes)
        except ValidationError as error:
            raise TrainingRefusal("recipe", _sentence(error)) from None


def _sentence(error: ValidationError) -> str:
    """Returns a sentence about the first fault: recipe: FIELD is VALUE: what it must be."""
    fault = error.errors()[0]
    names = [str(part) for part in fault["loc"]]
    if fault["type"] == "extra_forbidden":
        *sections, name = names
        known = _fields(sections)
        matches = get_close_matches(name, known, n=1)
        remedy = f"did you mean {'.'.join([*sections, matches[0]])}?" if matches else f"fields are {', '.join(known)}"
        return f"recipe: there is no field {'.'.join(names)}: {remedy}"
    message = fault["msg"].removeprefix("Value error, ").replace("Input should be", "must be", 1)
    while names and names[-1] not in _fields(names[:-1]) and not names[-1].isdigit():
        names.pop()  # pydantic's name for the branch of a union
    return f"recipe: {'.'.join(names)} is {fault['input']!r}: {message}" if names else f"recipe: {message}"


def _fields(sections: list[str]) -> list[str]:
    """Returns the names of the fields of a section of the recipe; none for an unknown section."""
    model: Any = Recipe
    for section in sections:
        field = getattr(model, "model_fields", {}).get(section)
        model = field.annotation if field else None
    fields: Mapping[str, Any] = getattr(model, "model_fields", {})
    return list(fields)
