"""Reads ids and times as other tools write them. Pure."""

import json
from datetime import UTC, datetime
from typing import Any

from app.feedback.importing.drafts import Faulty

#: Numbers of this size count milliseconds, microseconds and nanoseconds since 1970; smaller ones are seconds.
_UNITS = ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3))


def as_text(identity: Any, name: str) -> Any:
    """Returns an id that is an integer as text. Raises `Faulty` for booleans and fractions."""
    if isinstance(identity, bool | float):
        raise Faulty(f"{name} is {json.dumps(identity)}: must be a text or an integer")
    return str(identity) if isinstance(identity, int) else identity


def required_id(identity: Any, name: str) -> str:
    """Returns an id as text. Raises `Faulty` if it is missing or empty."""
    text = as_text(identity, name)
    if not isinstance(text, str) or not text.strip():
        raise Faulty(f"{name} is missing")
    return text


def time_of(value: Any) -> Any:
    """Returns a time for an event. A time without a zone counts as UTC; a text that is no time is returned as it is."""
    if isinstance(value, str):
        if value.strip().isdecimal():
            return _seconds(float(value))
        try:
            moment = datetime.fromisoformat(value.strip())
        except ValueError:
            return value
        return value if moment.tzinfo is not None else moment.replace(tzinfo=UTC).isoformat()
    if isinstance(value, datetime) and value.tzinfo is None:
        return value.replace(tzinfo=UTC)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _seconds(float(value))
    return value


def _seconds(number: float) -> float:
    return next((number / divisor for least, divisor in _UNITS if number >= least), number)


def object_of(value: Any) -> dict[str, Any]:
    """Returns a JSON object, also one that is written as text; an empty one for anything else."""
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return {}
    return value if isinstance(value, dict) else {}
