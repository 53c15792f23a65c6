"""Values that several bodies share, and what can be stored at all."""

import time
from datetime import UTC, datetime
from math import isfinite
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, JsonValue

MAX_TEXT = 200_000
Slug = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$", description="lower-case letters, digits and hyphens")]

#: How far a clock of the caller may run ahead of ours, in seconds.
CLOCK_SKEW_SECONDS = 300
#: No feedback on language models is older; a time before it is a clock that was never set, or a wrong unit.
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC).timestamp()
#: Levels of lists and objects in a JSON value.
MAX_DEPTH = 64
#: Integers beyond are not the same number everywhere: they go as strings.
MAX_INTEGER = 2**63 - 1


def without_nul(text: str) -> str:
    """Postgres does not store NUL. Lone surrogates are refused by pydantic already, as the length is limited."""
    if "\x00" in text:
        raise ValueError("holds a NUL character: remove it")
    return text


def storable(text: str) -> str:
    """Postgres stores neither NUL nor lone surrogates."""
    without_nul(text)
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ValueError("holds a lone surrogate: send valid Unicode") from error
    return text


def storable_value(value: JsonValue, depth: int = 0) -> JsonValue:
    if isinstance(value, str):
        storable(value)
    elif isinstance(value, float):
        if not isfinite(value):
            raise ValueError("holds NaN or infinity: JSON has no such number, send null")
    elif isinstance(value, int):
        if not -MAX_INTEGER <= value <= MAX_INTEGER:
            raise ValueError("holds an integer of more than 64 bits: send it as a string")
    elif isinstance(value, list | dict):
        if depth == MAX_DEPTH:
            raise ValueError(f"is nested deeper than {MAX_DEPTH} levels: send it flatter, or as a string")
        for item in value:
            storable_value(item, depth + 1)
        if isinstance(value, dict):
            for item in value.values():
                storable_value(item, depth + 1)
    return value


def meant(text: str) -> str:
    """Returns the text. Raises ValueError if it is empty or has a NUL character."""
    if "\x00" in text:
        raise ValueError("holds a NUL character: remove it")
    if not text or text.isspace():
        raise ValueError("is empty: send a text")
    return text


def in_the_past(moment: datetime) -> datetime:
    seconds = moment.timestamp()
    if seconds - time.time() > CLOCK_SKEW_SECONDS:
        raise ValueError("lies in the future: send the time at which it happened, in UTC")
    if seconds < EARLIEST:
        raise ValueError("lies before 2000: send the time at which it happened, or leave it out")
    return moment


Name = Annotated[str, Field(min_length=1, max_length=128), AfterValidator(meant)]
Text = Annotated[str, Field(max_length=MAX_TEXT), AfterValidator(without_nul)]
CompletionText = Annotated[str, Field(max_length=MAX_TEXT), AfterValidator(meant)]
PastTime = Annotated[AwareDatetime, AfterValidator(in_the_past)]
Metadata = Annotated[dict[str, JsonValue], AfterValidator(storable_value)]


class Body(BaseModel):
    """A request's body: unknown fields are named and refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)
