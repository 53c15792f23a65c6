"""Converts records to events and completions: adds ids, actors and comments, and checks each against the wire."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from thumbwheel import wire
from thumbwheel.chat_messages import PLAIN
from thumbwheel.row_checks import RowFault, fault_of

from app.errors import Faults
from app.feedback import signals
from app.feedback.importing import shapes
from app.feedback.importing.containers import SourceRecord
from app.feedback.importing.containers.json_documents import ARRAYS
from app.feedback.importing.drafts import Body, CompletionDraft, EventDraft, Faulty, Row, SaysNothing, ScoreInGroup
from app.feedback.importing.items import Imported, Item, Registered, Rejected, Silent
from app.feedback.importing.judgements import Rules
from app.feedback.importing.own_ids import OwnIds
from app.feedback.importing.shapes import RecordShape

#: Scores that wait for the other one of their group.
MOST_WAITING = 10_000
#: Values of a field by which nothing gets lost.
_EMPTY: tuple[Any, ...] = (None, "", [], {})


class RecordConversion:
    """Converts the records of one file.

    shape    the only shape that is tried; None recognises each record by its content
    textual  whether all values are texts, as in a CSV file
    """

    def __init__(self, ids: OwnIds, rules: Rules, shape: RecordShape | None, *, textual: bool) -> None:
        self._ids = ids
        self._rules = rules
        self._shape = shape
        self._textual = textual
        self._waiting: dict[str, tuple[int, ScoreInGroup]] = {}

    def recognises(self, value: Any) -> bool:
        """Returns whether a value is a record, or a page of records, of a known shape."""
        return self._shape is not None or any(shape is not None for _, shape in self._rows_of(value)[:1])

    def items(self, record: SourceRecord) -> Iterator[Item]:
        """Yields the items of a record. A record may be a page or a batch, which gives the items of its rows."""
        if record.broken is not None:
            yield Rejected(record.number, record.broken)
            return
        for row, shape in self._rows_of(record.value):
            if isinstance(row, dict) and shape is not None:
                yield from self._items_of_row(record.number, row, shape)
            else:
                reason = unknown_shape(row) if isinstance(row, dict) else "is not a JSON object"
                yield Rejected(record.number, reason)

    def rest(self) -> Iterator[Item]:
        """Yields, at the end of the file, the records that miss the other one of their group."""
        waiting, self._waiting = self._waiting, {}
        for number, score in waiting.values():
            yield Rejected(number, _alone(score))

    def _rows_of(self, value: Any) -> list[tuple[Any, RecordShape | None]]:
        """Returns the rows of a page or a batch, or else the value itself, each with its shape if it is known."""
        shape = self._shape_of(value)
        if shape is None and isinstance(value, dict):
            arrays = [name for name in value if name in ARRAYS and isinstance(value[name], list)]
            if len(arrays) == 1:
                return [(row, self._shape_of(row)) for row in value[arrays[0]]]
        return [(value, shape)]

    def _shape_of(self, row: Any) -> RecordShape | None:
        if not isinstance(row, dict):
            return None
        return self._shape or shapes.find(row, textual=self._textual)

    def _items_of_row(self, number: int, row: Row, shape: RecordShape) -> Iterator[Item]:
        ignored = tuple(name for name, value in row.items() if value not in _EMPTY and name not in shape.fields)
        if self._textual:  # an empty cell is no value
            row = {name: value for name, value in row.items() if value != ""}
        own_id: str | None = None
        position = 0
        try:
            for draft in shape.drafts(row, self._rules):
                match draft:
                    case Faulty():
                        yield Rejected(number, str(draft))
                    case SaysNothing():
                        yield Silent(number, str(draft))
                    case CompletionDraft():
                        yield self._registered(number, draft, ignored)
                        ignored = ()
                    case ScoreInGroup():
                        yield from self._paired(number, draft)
                    case EventDraft():
                        body = dict(draft.body)
                        if body.get("event_id") is None:
                            own_id = own_id or self._ids.id_of(row)
                            body["event_id"] = own_id if position == 0 else f"{own_id}-{position}"
                            position += 1
                        yield from self._events(number, body, draft.comment, ignored)
                        ignored = ()
        except Faulty as fault:
            yield Rejected(number, str(fault))
        except SaysNothing as nothing:
            yield Silent(number, str(nothing))
        except RecursionError:
            yield Rejected(number, "is nested too deeply")
        except OverflowError:
            yield Rejected(number, "holds a number that is too large")
        except UnicodeEncodeError:
            yield Rejected(number, "holds half of a surrogate pair, which is no character: remove it")

    def _events(self, number: int, body: Body, comment: str | None, ignored: tuple[str, ...]) -> Iterator[Item]:
        event_id = str(body["event_id"])
        # Rows without an actor get one each, so that none replaces the vote of another.
        body.setdefault("actor", f"unknown-{hashlib.sha256(event_id.encode()).hexdigest()[:16]}")
        parsed = _parsed(number, body)
        yield parsed._replace(ignored=ignored) if isinstance(parsed, Imported) else parsed
        if comment is not None and comment.strip():
            digest = hashlib.sha256(event_id.encode()).hexdigest()[:32]
            about = {name: value for name, value in body.items() if name != "supersedes"}
            signal = {"kind": "comment", "text": comment}
            yield _parsed(number, {**about, "signal": signal, "event_id": f"comment-{digest}"})

    def _registered(self, number: int, draft: CompletionDraft, ignored: tuple[str, ...]) -> Item:
        if not 0 < len(draft.completion_id) <= shapes.rows.ID_LENGTH:
            return Rejected(number, f"the id of the completion has over {shapes.rows.ID_LENGTH} characters")
        completion = signals.parse(wire.Completion, draft.body)
        if not isinstance(completion, wire.Completion):
            return Rejected(number, _faults(completion))
        fault = _fault_of(completion.prompt, [completion.completion])
        return Registered(number, draft.completion_id, completion, fault, ignored)

    def _paired(self, number: int, score: ScoreInGroup) -> Iterator[Item]:
        """Makes a preference of two scores of one group, whichever comes first."""
        other = self._waiting.pop(score.group, None)
        if other is None:
            self._waiting[score.group] = (number, score)
            if len(self._waiting) > MOST_WAITING:
                oldest, left = self._waiting.pop(next(iter(self._waiting)))
                yield Rejected(oldest, _alone(left))
            return
        better, worse = sorted((other[1], score), key=lambda item: (-item.score, item.completion_id))
        signal: Body = {"kind": "preference", "rejected_completion_id": worse.completion_id}
        if better.score == worse.score:
            signal["tie"] = True
        body = {
            **better.body, "event_id": f"group-{score.group}"[:128], "completion_id": better.completion_id,
            "signal": signal,
        }  # fmt: skip
        yield from self._events(number, body, None, ())


def unknown_shape(row: Mapping[str, Any]) -> str:
    """Returns the reason to reject a record that no shape recognises."""
    fields = ", ".join(list(map(str, row))[:12])
    return (
        f"has no known shape (fields: {fields or 'none'}): needs prompt, completion and label; or prompt, chosen and "
        "rejected; or the fields of another tool's export; name columns with --map, or the shape with --as"
    )


def _alone(score: ScoreInGroup) -> str:
    return f"the other score of its group {score.group} is not in this file"


def _parsed(number: int, body: Body) -> Imported | Rejected:
    event = signals.parse(wire.Event, body)
    if not isinstance(event, wire.Event):
        return Rejected(number, _faults(event))
    answers = [event.completion]
    if isinstance(event.signal, wire.Edit):
        answers.append(event.signal.text)
    elif isinstance(event.signal, wire.Preference):
        answers.append(event.signal.rejected)
    return Imported(number, event, _fault_of(event.prompt, answers))


def _faults(faults: Faults) -> str:
    return "; ".join(f"{fault.pointer or 'the row'}: {fault.message}" for fault in faults)


def _fault_of(prompt: wire.Prompt | None, answers: list[str | wire.Message | None]) -> RowFault | None:
    """Returns the reason for which a run would drop the texts, as far as it shows without a model."""
    given = [signals.answer_of(answer).as_sent for answer in answers if answer is not None]
    faults: Iterator[RowFault | None]
    if prompt is None or isinstance(prompt, str):
        faults = (fault_of(prompt, answer) for answer in given)
    else:
        messages = prompt.messages if isinstance(prompt, wire.ChatWithTools) else prompt
        chat = [_document(message) for message in messages]
        faults = (
            fault_of(chat, [{"role": "assistant", "content": answer} if isinstance(answer, str) else answer])
            for answer in given
        )
    return next(filter(None, faults), None)


def _document(message: wire.Message) -> Mapping[str, Any]:
    """Returns a message as JSON values. A dump takes several times as long, and most messages are texts."""
    if isinstance(message.content, str) and message.model_fields_set == PLAIN:
        return {"role": message.role, "content": message.content}
    return message.model_dump(mode="json", exclude_none=True)
