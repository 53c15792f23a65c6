"""Splits a transcript in one text into the turns that its layout shows. Pure."""

import re
from typing import NamedTuple

_USER, _ASSISTANT = "user", "assistant"
_ROLES = {
    "human": _USER, "user": _USER, "customer": _USER,
    "assistant": _ASSISTANT, "ai": _ASSISTANT, "bot": _ASSISTANT, "model": _ASSISTANT, "agent": _ASSISTANT,
    "system": "system", "tool": "tool",
}  # fmt: skip
#: Patterns of a turn's beginning: ChatML, Llama 3, Gemma, headings, and a role with a colon at the start of a line.
_LAYOUTS = (
    re.compile(r"<\|im_start\|>[ ]*(?P<role>\w+)[ ]*\n", re.ASCII),
    re.compile(r"<\|start_header_id\|>[ ]*(?P<role>\w+)[ ]*<\|end_header_id\|>", re.ASCII),
    re.compile(r"<start_of_turn>[ ]*(?P<role>\w+)[ ]*\n", re.ASCII),
    re.compile(r"^#{2,4}[ ]*(?P<role>\w+)[ ]*:?[ ]*$", re.ASCII | re.MULTILINE),
    re.compile(r"^(?P<role>[A-Za-z]{2,11})[ ]?:", re.ASCII | re.MULTILINE),
)
_MARKS = ("<|im_start|>", "<|start_header_id|>", "<start_of_turn>", "##", ":")
_ENDS = re.compile(r"(?:<\|im_end\|>|<\|eot_id\|>|<end_of_turn>)\s*$")


class Turn(NamedTuple):
    role: str
    text: str


def turns_of_text(text: str) -> list[Turn]:
    """Returns the turns that the layout of a transcript shows, or an empty list if the text is no transcript. A final
    mark of an answer that is yet to be written is left out.

    A transcript has turns of a user and of an assistant. Text before its first turn counts as instructions.
    """
    for mark, layout in zip(_MARKS, _LAYOUTS, strict=True):
        if mark in text and (turns := _laid_out(text, layout)):
            return turns
    return []


def _laid_out(text: str, layout: re.Pattern[str]) -> list[Turn]:
    marks = [mark for mark in layout.finditer(text) if mark["role"].lower() in _ROLES]
    if len(marks) < 2:
        return []
    turns = [Turn("system", text[: marks[0].start()])] if text[: marks[0].start()].strip() else []
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    for mark, end in zip(marks, ends, strict=True):
        turns.append(Turn(_ROLES[mark["role"].lower()], _ENDS.sub("", text[mark.end() : end])))
    if not {_USER, _ASSISTANT} <= {turn.role for turn in turns}:
        return []
    return turns[:-1] if turns[-1].role == _ASSISTANT and not turns[-1].text.strip() else turns
