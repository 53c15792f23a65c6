"""Reads the label of a row in a file, and makes errors that name the row. Pure."""

import json
from typing import Any

from worker.training.machine.process import TrainingRefusal


class Labels:
    """Reads the labels of one file: true and false, 1 and 0, or "true" and "false", all of the same kind."""

    def __init__(self) -> None:
        self._first: tuple[str, str, Any] | None = None  # kind, place and value of the first label

    def read(self, value: Any, place: str) -> bool:
        kind = _kind_of_label(value)
        if kind is None or (self._first is not None and self._first[0] != kind):
            other = f", {self._first[1]} has {shown(self._first[2])}" if self._first else ""
            raise row_error(place, f"label is {shown(value)}{other}: write every label of a file as true or false")
        self._first = self._first or (kind, place, value)
        return value.strip().lower() == "true" if kind == "text" else bool(value)


def _kind_of_label(value: Any) -> str | None:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number" if value in (0, 1) else None
    return "text" if isinstance(value, str) and value.strip().lower() in ("true", "false") else None


def row_error(place: str, message: str) -> TrainingRefusal:
    """Returns the refusal of a row; `place` is its file and line."""
    return TrainingRefusal("data", f"{place}: {message}")


def shown(value: Any) -> str:
    """Returns `value` as JSON, shortened if it is long."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:59] + "…"
