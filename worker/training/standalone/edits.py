"""Reads what users' edits kept of the undesirable completions in files. Pure.

edited   the text that a user made of the completion; a text, or a list of one message
kept     {spans: [{start, end}], ending}, as the shards of a snapshot have it
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from app.labels.kept_spans import KeptParts, kept
from worker.training.standalone.examples import Example
from worker.training.standalone.labels import row_error, shown
from worker.training.standalone.reading import Record

EDIT_COLUMNS = frozenset({"edited", "kept"})


def with_edit(example: Example, record: Record) -> Example:
    """Returns the example with what an edit kept of it, if it is undesirable and has one. Raises `TrainingRefusal`."""
    # An empty cell of a CSV file is an empty text.
    edited, given = (record.fields.get(name) or None for name in ("edited", "kept"))
    if example.desirable or (edited is None and given is None):
        return example
    if edited is not None and given is not None:
        raise row_error(record.place, "has both edited and kept: leave one of them out")
    completion = example.completion if isinstance(example.completion, str) else example.completion[0]["content"]
    if given is not None:
        return replace(example, kept=_kept(given, len(completion), record.place))
    return replace(example, kept=kept(completion, _text(edited, record.place)))


def _text(edited: Any, place: str) -> str:
    content = edited
    if isinstance(edited, list) and len(edited) == 1 and isinstance(edited[0], Mapping):
        content = edited[0].get("content")
    if not isinstance(content, str):
        raise row_error(place, f"edited is {shown(edited)}: write a text, or a list of one message")
    return content


def _kept(given: Any, length: int, place: str) -> KeptParts:
    if isinstance(given, str):  # a cell of a CSV file
        with suppress(ValueError):
            given = json.loads(given)
    if not isinstance(given, Mapping) or not isinstance(given.get("spans"), list):
        raise row_error(place, f"kept is {shown(given)}: write {{spans: [{{start, end}}], ending}}")
    spans = []
    last = 0
    for number, span in enumerate(given["spans"], start=1):
        start, end = (span.get(name) if isinstance(span, Mapping) else None for name in ("start", "end"))
        if not (isinstance(start, int) and isinstance(end, int) and last <= start < end <= length):
            raise row_error(
                place,
                f"kept: span {number} is {shown(span)}: spans must ascend in the {length} characters of completion",
            )
        spans.append((start, end))
        last = end
    ending = given.get("ending")
    if not isinstance(ending, bool):
        raise row_error(place, f"kept: ending is {shown(ending)}: write true or false")
    return KeptParts(tuple(spans), ending)
