"""Rows in Alpaca's shape, with a judgement as LLaMA-Factory writes it. Pure."""

from collections.abc import Iterator
from typing import Any

from app.feedback.importing.drafts import EventDraft, Faulty, Row, SaysNothing
from app.feedback.importing.judgements import Rules
from app.feedback.importing.shapes.events import comment_of
from app.feedback.importing.shapes.rows import ABOUT, about, label_signal
from app.feedback.importing.shapes.shape import RecordShape
from app.feedback.importing.texts import (
    answer_of,
    body_of,
    preference_of,
    require_row_complete,
    with_system,
    with_tools,
)

_LABELS = ("kto_tag", "label")
_FIELDS = ABOUT | {"instruction", "input", "output", "system", "history", "chosen", "rejected", *_LABELS}


def _recognises(row: Row) -> bool:
    return "instruction" in row and bool(row.keys() & {"output", "chosen", "rejected"})


def _drafts(row: Row, rules: Rules) -> Iterator[EventDraft]:
    require_row_complete(row)
    name = next((name for name in _LABELS if row.get(name) is not None), None)
    if "chosen" in row or "rejected" in row:
        body = preference_of(_prompt(row), row.get("chosen"), row.get("rejected"))
    elif name is not None:
        # A CSV file has texts only.
        signal = rules.thumbs(row[name], name) if isinstance(row[name], str) else label_signal(row, rules, name)
        body = body_of(_prompt(row), answer_of(row.get("output"), "output"), signal)
    else:
        raise SaysNothing("the row has no judgement: add kto_tag, or chosen and rejected")
    yield EventDraft({**body, **about(row)}, comment_of(row))


def _prompt(row: Row) -> Any:
    """Returns the messages that LLaMA-Factory makes of a row: the input follows the instruction on a new line."""
    parts = [part for part in (row.get("instruction"), row.get("input")) if part not in (None, "")]
    if not parts or not all(isinstance(part, str) for part in parts):
        raise Faulty("instruction is missing, or is not a text")
    messages: list[dict[str, Any]] = []
    for turn in row.get("history") or ():
        if not isinstance(turn, list) or len(turn) != 2:
            raise Faulty("history must be a list of pairs, each a question and its answer")
        messages += [{"role": "user", "content": turn[0]}, {"role": "assistant", "content": turn[1]}]
    prompt = [*messages, {"role": "user", "content": "\n".join(parts)}]
    return with_tools(with_system(row.get("system"), prompt), row)


SHAPE = RecordShape("alpaca", "Alpaca's rows: instruction, input, output", _recognises, _drafts, _FIELDS, textual=True)
