"""Rows that TRL's trainers read, and axolotl's with a `system` text beside them. Pure."""

from collections.abc import Iterator

from app.feedback.importing.drafts import Body, EventDraft, Faulty, Row
from app.feedback.importing.judgements import Rules
from app.feedback.importing.shapes.events import comment_of
from app.feedback.importing.shapes.rows import ABOUT, about, labelled
from app.feedback.importing.shapes.shape import RecordShape
from app.feedback.importing.texts import messages_of, preference_of, prompt_of, require_row_complete, with_tools

_FIELDS = ABOUT | {"prompt", "completion", "label", "chosen", "rejected", "system"}


def _recognises(row: Row) -> bool:
    if "chosen" in row or "rejected" in row:
        return not row.keys() & {"conversations", "instruction", "messages", "question"}
    return "label" in row and "completion" in row


def _drafts(row: Row, rules: Rules) -> Iterator[EventDraft]:
    require_row_complete(row)
    body = _pair(row) if "chosen" in row or "rejected" in row else labelled(row, rules)
    yield EventDraft({**body, **about(row)}, comment_of(row))


def _pair(row: Row) -> Body:
    for name in ("chosen", "rejected"):
        if name not in row:
            raise Faulty(f"{name} is missing")
    chosen, rejected = row["chosen"], row["rejected"]
    if "prompt" in row:
        # UltraFeedback repeats the prompt in front of both answers.
        if isinstance(row["prompt"], str) and all(_repeats(answer, row["prompt"]) for answer in (chosen, rejected)):
            return preference_of(with_tools(messages_of(chosen[:1]), row), chosen[1:], rejected[1:])
        return preference_of(prompt_of(row, system=row.get("system")), chosen, rejected)
    if not isinstance(chosen, list) or not isinstance(rejected, list):
        raise Faulty("prompt is missing")
    shared = 0
    while shared < min(len(chosen), len(rejected)) and chosen[shared] == rejected[shared]:
        shared += 1
    if shared == 0:
        raise Faulty("prompt is missing, and chosen and rejected share no first message")
    return preference_of(with_tools(messages_of(chosen[:shared]), row), chosen[shared:], rejected[shared:])


def _repeats(answer: object, prompt: str) -> bool:
    return (
        isinstance(answer, list)
        and len(answer) == 2
        and isinstance(answer[0], dict)
        and (answer[0].get("role"), answer[0].get("content")) == ("user", prompt)
    )


SHAPE = RecordShape(
    "trl", "rows of TRL's trainers: prompt, completion, label; prompt, chosen, rejected", _recognises, _drafts, _FIELDS
)
