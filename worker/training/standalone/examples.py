"""Turns a record in a format of TRL's trainers into an example or a pair of examples. Pure.

    unpaired   {prompt, completion, label}
    paired     {prompt, chosen, rejected}; without prompt, chosen and rejected both hold it as their common beginning.
               Optional: votes_chosen (1), votes_rejected (0) and votes_even (0), the numbers of people who preferred
               the one, the other, or neither

Each text is a string or a list of chat messages {role, content}, which may have parts, tool_calls, tool_call_id, name
and reasoning_content. A completion that is a string, to a prompt of messages, is one message of the assistant. Optional
columns: tools (JSON schemas that a prompt of messages offers), weight (of the row in the loss), and for unpaired rows
labels ({name: true or false}) and spans ([{start, end, weight}], characters of the completion or its first message).
"""

import json
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from thumbwheel.chat_messages import is_plain, normal_message, normal_prompt, text_of
from thumbwheel.row_checks import RowFault, fault_of, fault_of_message, lost_in_row

from app.labels.kept_spans import KeptParts
from worker.training.data.tokens import Span
from worker.training.machine.process import TrainingRefusal
from worker.training.standalone.labels import Labels, row_error, shown
from worker.training.standalone.reading import Record

Message = dict[str, Any]
Text = str | list[Message]

VOTES = ("votes_chosen", "votes_rejected", "votes_even")
COLUMNS = ("prompt", "completion", "label", "chosen", "rejected", "weight", "labels", "spans", "tools", *VOTES)


@dataclass(frozen=True)
class Example:
    prompt: Any  # in its normal form: see `thumbwheel.chat_messages`
    completion: Text
    desirable: bool
    name: str  # of the row: file and line
    weight: float = 1.0
    labels: Mapping[str, bool] | None = None
    spans: tuple[Span, ...] | None = None
    kept: KeptParts | None = None  # what an edit kept of the completion or of its first message

    @property
    def empty(self) -> bool:
        return not _all_text(self.completion).strip()


class Dropped(NamedTuple):
    """A row whose training would differ from what was judged, with its fault."""

    name: str  # of the row: file and line
    fault: RowFault


class Pair(NamedTuple):
    """Two answers to one prompt, with the numbers of votes for the chosen one, for the rejected one, for neither."""

    chosen: Example
    rejected: Example
    votes: tuple[int, int, int] = (1, 0, 0)

    @property
    def examples(self) -> tuple[Example, Example]:
        return self.chosen, self.rejected

    @property
    def turned(self) -> "Pair":
        """Returns the pair with chosen and rejected swapped."""
        chosen, rejected = replace(self.rejected, desirable=True), replace(self.chosen, desirable=False)
        return Pair(chosen, rejected, (self.votes[1], self.votes[0], self.votes[2]))

    def with_votes_of(self, other: "Pair") -> "Pair":
        """Returns the pair with the votes of both added up."""
        chosen, rejected, even = (mine + theirs for mine, theirs in zip(self.votes, other.votes, strict=True))
        return self._replace(votes=(chosen, rejected, even))


def example_of(record: Record, labels: Labels, *, label_needed: bool = True) -> Example | Pair | Dropped:
    """Returns the example or pair in `record`, or the reason to drop it.

    `label_needed` is False if an absent label means desirable. Raises `TrainingRefusal` if the file has a wrong format.
    """
    if (fault := _fault_of_record(record.fields)) is not None:
        return Dropped(record.name, fault)
    parsed = _parsed(record, labels, label_needed=label_needed)
    for example in (parsed,) if isinstance(parsed, Example) else parsed.examples:
        # An empty answer is counted separately, as the other answer of its pair may remain.
        if not example.empty and (fault := fault_of(example.prompt, example.completion)) is not None:
            return Dropped(example.name, fault)
    return parsed


def _fault_of_record(fields: Mapping[str, Any]) -> RowFault | None:
    """Returns the fault of a record with content other than texts."""
    if (fault := lost_in_row(fields)) is not None:
        return fault
    for name in ("prompt", "completion", "chosen", "rejected"):
        messages = fields.get(name)
        for message in messages if isinstance(messages, list) else ():
            if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
                continue  # refused when the texts are read
            if (fault := fault_of_message(message)) is not None:
                return fault
    return None


def _parsed(record: Record, labels: Labels, *, label_needed: bool) -> Example | Pair:
    place, _, fields = record
    if "completion" in fields and ("chosen" in fields or "rejected" in fields):
        raise row_error(place, "has completion in addition to chosen or rejected: leave one of them out")
    weight = _weight(fields.get("weight"), place)
    if "completion" in fields and any(fields.get(name) is not None for name in VOTES):
        raise row_error(
            place, "votes belong to rows with chosen and rejected, this one has a completion: leave them out"
        )
    if "chosen" in fields or "rejected" in fields:
        return _pair(record, weight)
    prompt, completion = _same_kind(_text(record, "prompt"), _text(record, "completion"), "completion", place)
    named = _labels(fields.get("labels"), place)
    if "label" in fields and fields["label"] is not None:
        desirable = labels.read(fields["label"], place)
    elif label_needed and named is None and "label" in fields:
        raise row_error(place, "label is null: write true or false, or remove the row")
    elif label_needed and named is None:
        raise _missing(record, "label")
    else:  # to be imitated, or good by all of its labels
        desirable = all((named or {}).values())
    first = completion if isinstance(completion, str) else completion[0]["content"] if completion else ""
    spans = _spans(fields.get("spans"), len(first), place)
    return Example(_with_tools(prompt, record), completion, desirable, record.name, weight, named, spans)


def _pair(record: Record, weight: float) -> Pair:
    place, _, fields = record
    for name in ("labels", "spans"):
        if fields.get(name) is not None:
            raise row_error(place, f"{name} belongs to rows with a completion, this one has chosen and rejected")
    chosen, rejected = _text(record, "chosen"), _text(record, "rejected")
    prompt = _text(record, "prompt") if fields.get("prompt") is not None else None
    # With a prompt as text and two conversations, these hold the prompt too, and TRL takes it from them.
    if prompt is None or (isinstance(prompt, str) and isinstance(chosen, list) and isinstance(rejected, list)):
        prompt, chosen, rejected = _split(chosen, rejected, place)
    prompt, chosen = _same_kind(prompt, chosen, "chosen", place)
    prompt, rejected = _same_kind(prompt, rejected, "rejected", place)
    good = Example(_with_tools(prompt, record), chosen, desirable=True, name=f"{record.name} chosen", weight=weight)
    bad = replace(good, completion=rejected, desirable=False, name=f"{record.name} rejected")
    return Pair(good, bad, _votes(fields, place))


def _votes(fields: Mapping[str, Any], place: str) -> tuple[int, int, int]:
    if all(fields.get(name) is None for name in VOTES):
        return 1, 0, 0
    votes = []
    for name in VOTES:
        value = 0 if fields.get(name) is None else fields[name]
        if not _number(value) >= 0 or _number(value) != int(_number(value)):
            raise row_error(place, f"{name} is {shown(value)}: write a whole number of 0 or more")
        votes.append(int(value))
    if not any(votes):
        raise row_error(place, f"{', '.join(VOTES)} are all 0: give the votes, or leave the columns out")
    return votes[0], votes[1], votes[2]


def _split(chosen: Text, rejected: Text, place: str) -> tuple[Text, Text, Text]:
    """Returns the common beginning as the prompt, and the two answers: whole messages, or whole words of a text."""
    if isinstance(chosen, str) != isinstance(rejected, str):
        raise row_error(place, "one of chosen and rejected is a text, the other messages: write both alike")
    shared = 0
    while shared < min(len(chosen), len(rejected)) and chosen[shared] == rejected[shared]:
        shared += 1
    if isinstance(chosen, str):
        while shared and not (chosen[shared - 1].isspace() or chosen[shared : shared + 1].isspace()):
            shared -= 1  # back to the end of a word
        while shared and chosen[shared - 1] == " ":
            shared -= 1  # a space belongs to the word after it
    if shared == 0:
        raise row_error(place, "no prompt, and chosen and rejected begin differently: add a column prompt")
    if shared in (len(chosen), len(rejected)) and chosen != rejected:
        raise row_error(place, "no prompt, and one of chosen and rejected is the beginning of the other: add prompt")
    return chosen[:shared], chosen[shared:], rejected[shared:]


def _same_kind(prompt: Text, answer: Text, name: str, place: str) -> tuple[Text, Text]:
    if isinstance(prompt, list) and isinstance(answer, str):
        return prompt, [{"role": "assistant", "content": answer}]
    if isinstance(prompt, str) and isinstance(answer, list):
        raise row_error(place, f"prompt is a text, {name} is messages: write both as messages")
    return prompt, answer


def _text(record: Record, name: str) -> Text:
    place, _, fields = record
    if name not in fields:
        raise _missing(record, name)
    value = fields[name]
    if isinstance(value, str):
        return _unicode(value, name, place)
    if not isinstance(value, list):
        raise row_error(place, f"{name} is {shown(value)}: write a text, or a list of messages")
    if not value and name == "prompt":
        raise row_error(place, "prompt is an empty list: write at least one message")
    return [_message(message, f"{name}: message {number}", place) for number, message in enumerate(value, start=1)]


def _message(message: Any, name: str, place: str) -> Message:
    if not isinstance(message, Mapping):
        raise row_error(place, f"{name} is {shown(message)}: write {{role, content}}")
    if not isinstance(message.get("role"), str):
        raise row_error(place, f"{name}: role is {shown(message.get('role'))}: write a text")
    given = {key: value for key, value in message.items() if value is not None}
    normal = {**normal_message(given)}  # which checks have passed: see `_fault_of_record`
    if not is_plain([normal]):
        _unicode(json.dumps(normal, ensure_ascii=False), name, place)
    return {
        key: _unicode(value, f"{name}: {key}", place) if isinstance(value, str) else value
        for key, value in normal.items()
    }


def _with_tools(prompt: Text, record: Record) -> Any:
    """Returns the prompt with the tools that the record offers."""
    tools = record.fields.get("tools")
    if isinstance(tools, str) and tools.strip():
        with suppress(ValueError):
            tools = json.loads(tools)
    if not tools:
        return prompt
    if not isinstance(tools, list) or not all(isinstance(tool, Mapping) for tool in tools):
        raise row_error(record.place, f"tools is {shown(tools)}: write a list of JSON schemas")
    if isinstance(prompt, str):
        raise row_error(record.place, "tools belong to a prompt of messages, this one is a text: write it as messages")
    return normal_prompt({"messages": prompt, "tools": tools})


def _unicode(value: str, name: str, place: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        odd = f"U+{ord(value[error.start]):04X}"
        raise row_error(
            place, f"{name} holds half of a character ({odd}): correct how the file was cut or escaped"
        ) from None
    return value


def _weight(value: Any, place: str) -> float:
    if value is None:
        return 1.0
    if not 0 < _number(value) < math.inf:
        raise row_error(place, f"weight is {shown(value)}: write a number over 0, or remove the row")
    return float(value)


def _labels(value: Any, place: str) -> Mapping[str, bool] | None:
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise row_error(place, f'labels is {shown(value)}: write an object, as {{"helpful": true}}')
    named = {str(name): label for name, label in value.items() if label is not None}
    for name, label in named.items():
        if not isinstance(label, bool):
            raise row_error(place, f"labels: {name} is {shown(label)}: write true or false")
    return named or None


def _spans(value: Any, length: int, place: str) -> tuple[Span, ...] | None:
    """Returns the spans of a completion; `length` is the number of characters in it or in its first message."""
    if value is None:
        return None
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise row_error(place, f"spans is {shown(value)}: write a list of {{start, end, weight}}")
    spans = []
    for number, span in enumerate(value, start=1):
        start, end, weight = (span.get(key) if isinstance(span, Mapping) else None for key in Span._fields)
        if not (isinstance(start, int) and isinstance(end, int) and 0 <= start < end <= length):
            raise row_error(
                place, f"spans: span {number} is {shown(span)}: it must lie in the {length} characters of completion"
            )
        if not 0 <= _number(weight) < math.inf:
            raise row_error(place, f"spans: weight of span {number} is {shown(weight)}: write a number of 0 or more")
        spans.append(Span(start, end, _number(weight)))
    return tuple(spans) or None


def _all_text(text: Text) -> str:
    """Returns the text of all messages."""
    return text if isinstance(text, str) else "".join(map(text_of, text))


def _number(value: Any) -> float:
    """Returns `value` as a float, or NaN if it is not a number."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan


def _missing(record: Record, name: str) -> TrainingRefusal:
    return row_error(
        record.place,
        f"there is no column {name}, found {', '.join(map(str, record.fields)) or 'none'}: name the columns prompt, "
        "completion and label, or prompt, chosen and rejected",
    )
