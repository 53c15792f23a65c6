"""Suites: prompts with assertions about what a model writes for them, in the shape that promptfoo uses."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    JsonValue,
    Tag,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticCustomError

from thumbwheel.wire.prompts import TextOrChat
from thumbwheel.wire.values import Body, Name, Text, storable_value

#: Prompts times tests of a suite: each pair is one sample.
MOST_SAMPLES = 10_000
MOST_TESTS = 5_000
MOST_PROMPTS = 100
MOST_ASSERTIONS = 100
MOST_VALUES = 1_000

#: Every type without `not-` → the form of its `value`.
FORMS: Mapping[str, Literal["any", "text", "texts", "some", "count", "schema", "rubric", "none"]] = {
    "equals": "any",
    "contains": "text",
    "contains-any": "texts",
    "contains-all": "texts",
    "icontains": "text",
    "icontains-any": "texts",
    "icontains-all": "texts",
    "starts-with": "text",
    "ends-with": "text",
    "regex": "text",
    "is-json": "schema",
    "contains-json": "schema",
    "word-count": "count",
    "character-count": "count",
    "is-refusal": "none",
    "levenshtein": "text",
    "similar": "some",
    "llm-rubric": "rubric",
    "factuality": "text",
}
#: Types with a `threshold` → the one that applies if none is given, and the largest.
THRESHOLDS: Mapping[str, tuple[float | None, float]] = {
    "levenshtein": (5, 200_000),
    "similar": (0.75, 1),
    "llm-rubric": (None, 1),
}
NOT = "not-"
SUPPORTED = f"use one of {', '.join(FORMS)}, any of them with {NOT} before it, or assert-set for a group of assertions"


def base_type(name: str) -> str:
    """Returns the type without `not-`."""
    return name.removeprefix(NOT)


def _supported(name: str) -> str:
    if base_type(name) not in FORMS:
        raise ValueError(f"{name!r} is not a supported type of assertion: {SUPPORTED}")
    return name


def _as_text(value: Any) -> Any:
    """Returns a number as the text that it is written as; YAML reads an unquoted 30 as a number."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


AssertionType = Annotated[
    str,
    AfterValidator(_supported),
    Field(json_schema_extra={"enum": [prefix + name for name in FORMS for prefix in ("", NOT)]}),
]
Weight = Annotated[
    float,
    Field(ge=0, le=1000, description="its share of the score of the test; with 0 it is reported and decides nothing"),
]
Share = Annotated[float, Field(gt=0, le=1)]
#: Texts and numbers that replace `{{ name }}` in prompts and in the values of assertions.
Variable = Text | bool | int | Annotated[float, Field(allow_inf_nan=False)]
VariableName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_-]*$", max_length=128)]


class Assertion(Body):
    """One expectation of the text that a model wrote. `not-` before a type turns it around."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        validate_default=True,
        json_schema_extra={"examples": [{"type": "icontains", "value": "refund policy"}]},
    )

    type: AssertionType
    value: JsonValue = Field(None, description="what the output is compared with; its form depends on the type")
    threshold: Annotated[float, Field(ge=0)] | None = Field(
        None, description="levenshtein: the most edits; similar and llm-rubric: the least score"
    )
    weight: Weight = 1
    metric: Name | None = Field(None, description="assertions with the same metric get a figure of their own")

    @field_validator("value", mode="after")
    @classmethod
    def _has_the_form_of_its_type(cls, value: JsonValue, about: ValidationInfo) -> JsonValue:
        return value if "type" not in about.data else value_of_form(FORMS[base_type(about.data["type"])], value)

    @field_validator("threshold", mode="after")
    @classmethod
    def _fits_its_type(cls, threshold: float | None, about: ValidationInfo) -> float | None:
        if threshold is None or "type" not in about.data:
            return threshold
        name = base_type(about.data["type"])
        if name not in THRESHOLDS:
            raise ValueError(
                f"has no effect on {about.data['type']}: leave it out (it belongs to {', '.join(THRESHOLDS)})"
            )
        if threshold > THRESHOLDS[name][1]:
            raise ValueError(f"is above {THRESHOLDS[name][1]:g}, the largest threshold of {name}")
        return threshold

    @property
    def base(self) -> str:
        """The type without `not-`."""
        return base_type(self.type)

    @property
    def inverse(self) -> bool:
        """The claim that the type begins with `not-`."""
        return self.type.startswith(NOT)


class AssertionSet(Body):
    """A group of assertions that counts as one. It passes if all pass, or if their score reaches the threshold."""

    type: Literal["assert-set"]
    assertions: list[Assertion] = Field(alias="assert", min_length=1, max_length=MOST_ASSERTIONS)
    threshold: Share | None = None
    weight: Weight = 1
    metric: Name | None = None

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, serialize_by_alias=True)


def _set_or_single(item: Any) -> str:
    name = item.get("type") if isinstance(item, dict) else getattr(item, "type", None)
    return "set" if name == "assert-set" else "single"


AnyAssertion = Annotated[
    Annotated[Assertion, Tag("single")] | Annotated[AssertionSet, Tag("set")], Discriminator(_set_or_single)
]


class SuitePrompt(Body):
    """A prompt of a suite, a text or a chat, with `{{ name }}` for variables. `label` is its name within the suite."""

    label: Name
    prompt: TextOrChat


class SuiteTest(Body):
    """Variables for the prompts, and assertions about each output."""

    description: Annotated[Text, Field(max_length=1000)] = ""
    vars: dict[VariableName, Variable] = Field({}, max_length=256)
    prompts: list[Name] | None = Field(None, min_length=1, description="labels of its prompts; null: all of them")
    assertions: list[AnyAssertion] = Field(alias="assert", min_length=1, max_length=MOST_ASSERTIONS)
    threshold: Share | None = Field(
        None, description="the test passes if the weighted score of its assertions is at least this"
    )

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, serialize_by_alias=True)


def _labelled(prompts: Any) -> Any:
    """Returns the prompts with labels; a plain text or chat gets its number as its label."""
    if not isinstance(prompts, list):
        return prompts
    return [
        {"label": str(number), "prompt": prompt} if isinstance(prompt, str | list) else prompt
        for number, prompt in enumerate(prompts, start=1)
    ]


class Suite(Body):
    """Prompts with assertions, as a document. The SHA-256 of its canonical form names its content."""

    name: Name
    version: int = Field(1, ge=1, description="raised by its author with each change")
    description: Annotated[Text, Field(max_length=2000)] = ""
    prompts: Annotated[list[SuitePrompt], BeforeValidator(_labelled), Field(min_length=1, max_length=MOST_PROMPTS)]
    tests: list[SuiteTest] = Field(min_length=1, max_length=MOST_TESTS)


def value_of_form(form: str, value: JsonValue) -> JsonValue:
    """Returns the value in the form that the type requires. Raises `ValueError` with the rule that it breaks."""
    storable_value(value)
    if form == "none":
        if value is not None:
            raise ValueError("has no effect: leave it out")
        return None
    if form == "schema":
        if value is not None and not isinstance(value, dict | bool):
            raise ValueError("is not a JSON schema: write it as an object, or leave it out")
        return value
    if value is None:
        raise PydanticCustomError("missing", "is missing: write what the output is compared with")
    if form == "any":
        return value
    if form == "count":
        return _count(value)
    if form == "texts" or (form == "some" and isinstance(value, list)):
        return _texts(value)
    if form == "rubric" and isinstance(value, dict | list):
        return value
    text = _as_text(value)
    if not isinstance(text, str) or not text:
        raise ValueError("is not a text: write the text that the output is compared with")
    return text


def _texts(value: JsonValue) -> JsonValue:
    texts = [_as_text(item) for item in value] if isinstance(value, list) else []
    if not texts or not all(isinstance(text, str) and text for text in texts):
        raise ValueError("is not a list of texts: write it as [first, second]")
    if len(texts) > MOST_VALUES:
        raise ValueError(f"has more than {MOST_VALUES:,} texts")
    return texts


def _count(value: JsonValue) -> JsonValue:
    bounds = value if isinstance(value, dict) else {"min": value, "max": value}
    if not bounds or not bounds.keys() <= {"min", "max"}:
        raise ValueError("is neither a number nor bounds: write it as 50, {max: 50} or {min: 10, max: 50}")
    if any(isinstance(bound, bool) or not isinstance(bound, int) or bound < 0 for bound in bounds.values()):
        raise ValueError("is not a whole number from 0: write it as 50, {max: 50} or {min: 10, max: 50}")
    low, high = bounds.get("min", 0), bounds.get("max")
    if isinstance(low, int) and isinstance(high, int) and low > high:
        raise ValueError(f"has a min of {low} above its max of {high}: no output could pass")
    return value
