"""Rules for rows that cannot be trained as they were judged: reasons, remedies, checks without a model. Pure.

The trainer, the scorer, `thumbwheel train` and the service use the same reasons and the same words.
"""

import unicodedata
from collections.abc import Mapping
from typing import Any, NamedTuple

from thumbwheel.chat_messages import UnreadableMessage, messages_of, normal_message

#: Roles of a chat message.
ROLES = ("system", "developer", "user", "assistant", "tool")
#: Fields of a message that change what a model reads, and that a row's text does not hold.
LOST_FIELDS = ("function_call", "images", "image", "videos", "video", "audio")
#: The same for columns of a row.
LOST_COLUMNS = ("tool_calls", "function_call", "functions", "images", "image", "videos", "video", "audio")
_LOST_FIELDS, _LOST_COLUMNS = frozenset(LOST_FIELDS), frozenset(LOST_COLUMNS)
#: Characters that show nothing although their Unicode category is that of a letter, a mark or a symbol.
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0")
_INVISIBLE_CATEGORIES = frozenset({"Cc", "Cf", "Zs", "Zl", "Zp"})


class Reason(NamedTuple):
    meaning: str  # follows "N rows: "
    remedy: str


#: The reasons why a row is dropped, by the code in summaries and documents.
REASONS: Mapping[str, Reason] = {
    "empty_answer": Reason("the answer is empty", "remove the rows, or send the answer's text"),
    "invisible_answer": Reason(
        "the answer has only characters that are not visible", "remove the rows, or send the answer's text"
    ),
    "empty_prompt": Reason("the prompt has no message", "write at least one message"),
    "unknown_role": Reason("a message has an unknown role", f"use one of {', '.join(ROLES)}"),
    "answer_not_assistant": Reason(
        "the answer is not one message of the assistant",
        "make the answer one message with the role assistant, and earlier turns a part of the prompt",
    ),
    "lost_fields": Reason(
        "a field that the model would not see belongs to the row", "remove the row, or write the field into the text"
    ),
    "content_not_text": Reason(
        "the content of a message is neither a text nor parts of text", "write the content as a text"
    ),
    "media_content": Reason(
        "a message has a part that is an image, audio, video or a file",
        "describe the part in words, or remove the rows",
    ),
    "tool_arguments": Reason(
        "the arguments of a tool call are not a JSON object", "send the arguments as an object, or remove the rows"
    ),
    "no_chat_template": Reason(
        "the row is a chat and the base model has no chat template",
        "add chat_template.jinja to the model folder, or send prompts as text",
    ),
    "template_error": Reason(
        "the chat template of the base model fails", "send messages that the template accepts, or change the template"
    ),
    "template_changes_prompt": Reason(
        "the chat template changes or ignores a message of the prompt",
        "send the text as the template writes it (without the ignored part), or change the template",
    ),
    "template_drops_tools": Reason(
        "the chat template does not write the tools that the prompt offers",
        "use a base model whose template knows tools, or send the prompt without them",
    ),
    "template_drops_tool_calls": Reason(
        "the chat template does not write a tool call of the conversation",
        "use a base model whose template knows tool calls, or write the calls as text",
    ),
    "template_drops_tool_results": Reason(
        "the chat template changes or ignores a tool's result",
        "use a base model whose template knows the role tool, or send the result as a message of the user",
    ),
    "template_drops_reasoning": Reason(
        "the chat template does not write the reasoning of the answer",
        "change the template so that it writes reasoning_content, or send the answer without it",
    ),
    "template_generation_prompt": Reason(
        "the conversation does not begin with the opened prompt: the chat template ignores add_generation_prompt, or "
        "opens the answer differently",
        "change the template so that the assistant's turn begins as its generation prompt does",
    ),
    "template_prefill": Reason(
        "the prompt ends in a turn of the assistant, which the chat template cannot continue",
        "end the prompt with another role, or change the template so that it writes the last turn as it is",
    ),
    "template_changes_answer": Reason(
        "the chat template changes the answer", "change the template so that it writes the answer as it is"
    ),
    "control_tokens_in_answer": Reason(
        "the answer holds the text of a control token", "remove the control token from the text, or remove the row"
    ),
    "tokenizer_changes_answer": Reason(
        "the tokenizer cannot write the answer unchanged", "use a base model whose tokenizer knows these characters"
    ),
    "end_not_once": Reason(
        "the answer's end token would not be there exactly once", "change the chat template to end a turn once"
    ),
    "beyond_vocabulary": Reason(
        "the tokenizer makes a token that the model does not know",
        "use the tokenizer that the model was trained with",
    ),
    "too_long": Reason("max_length leaves nothing of the answer", "raise max_length"),
}


class RowFault(NamedTuple):
    """The reason why a row is dropped. `reason` is a key of `REASONS`; `detail` names the value if that helps."""

    reason: str
    detail: str = ""

    @property
    def sentence(self) -> str:
        meaning, remedy = REASONS[self.reason]
        return f"{meaning}{f' ({self.detail})' if self.detail else ''}: {remedy}"


def fault_of(prompt: Any, answer: Any) -> RowFault | None:
    """Returns the first reason that shows without a model; None for a row without fault.

    `prompt` and `answer` are texts or messages; see `chat_messages`.
    """
    if isinstance(answer, str):
        return _fault_of_text(answer)
    messages = messages_of(prompt)
    if not messages:
        return RowFault("empty_prompt")
    for message in (*messages, *(answer or ())):
        if fault := fault_of_message(message):
            return fault
    if not answer:
        return RowFault("empty_answer")
    roles = [message["role"] for message in answer]
    if roles != ["assistant"]:
        return RowFault("answer_not_assistant", f"role {', '.join(roles)}")
    if answer[0].get("tool_calls"):
        return None
    return _fault_of_text(normal_message(answer[0])["content"])


def lost_in_row(row: Mapping[str, Any]) -> RowFault | None:
    """Returns the fault of a row with columns that a model should read but that are not in its texts."""
    if _LOST_COLUMNS.isdisjoint(row):
        return None
    lost = [name for name in LOST_COLUMNS if row.get(name)]
    return RowFault("lost_fields", ", ".join(lost)) if lost else None


def lost_in_message(message: Mapping[str, Any]) -> RowFault | None:
    """Returns the fault of a message with fields, other than role and content, that a model should read."""
    if _LOST_FIELDS.isdisjoint(message):
        return None
    lost = [name for name in LOST_FIELDS if message.get(name)]
    return RowFault("lost_fields", ", ".join(lost)) if lost else None


def is_invisible(text: str) -> bool:
    """Returns whether `text` has no visible character, only white space, control characters and the like."""
    if text and _is_visible(text[0]):  # as nearly always
        return False
    return not any(_is_visible(character) for character in text)


def counts_in_words(counts: Mapping[str, int]) -> str:
    """Returns the reasons with their numbers of rows, the most frequent first, each with its remedy."""
    return "; ".join(
        f"{count} because {REASONS[code].meaning}: {REASONS[code].remedy}"
        for code, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    )


def fault_of_message(message: Mapping[str, Any]) -> RowFault | None:
    """Returns the fault of one message."""
    if message.get("role") not in ROLES:
        return RowFault("unknown_role", str(message.get("role")))
    if (fault := lost_in_message(message)) is not None:
        return fault
    try:
        normal_message(message)
    except UnreadableMessage as unreadable:
        return RowFault(unreadable.reason, unreadable.detail)
    return None


def _fault_of_text(answer: str) -> RowFault | None:
    if not answer:
        return RowFault("empty_answer")
    return RowFault("invisible_answer") if is_invisible(answer) else None


def _is_visible(character: str) -> bool:
    if character.isalnum() and character not in _BLANK:
        return True
    if character in _BLANK or "\ufe00" <= character <= "\ufe0f" or "\U000e0100" <= character <= "\U000e01ef":
        return False
    return unicodedata.category(character) not in _INVISIBLE_CATEGORIES
