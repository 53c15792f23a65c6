"""Collects what a server writes for one choice: its text, reasoning, refusal and tool calls, and the tokens. Pure.

Streams give a text in pieces, and a tool call by its index: the name and the arguments may come in pieces, too.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from thumbwheel.chat_messages import UnreadableMessage, normal_message
from thumbwheel.wire.feedback import MAX_TOKENS
from thumbwheel.wire.prompts import MOST_CALLS
from thumbwheel.wire.values import MAX_TEXT

#: Names of the reasoning in the order in which they count: some servers send the same by both.
REASONING = ("reasoning_content", "reasoning")
#: Parts of an answer that the log has no place for.
UNSUPPORTED = ("function_call", "audio")
#: Parts of an answer besides its text.
BESIDE_THE_TEXT = frozenset({*REASONING, *UNSUPPORTED, "refusal", "tool_calls"})


@dataclass
class WrittenCall:
    """The pieces of a tool call that have come."""

    id: list[str] = field(default_factory=list)
    name: list[str] = field(default_factory=list)
    arguments: list[str] = field(default_factory=list)

    def as_sent(self) -> dict[str, Any]:
        identity = {"id": "".join(self.id)} if self.id else {}
        function = {"name": "".join(self.name), "arguments": "".join(self.arguments)}
        return {**identity, "type": "function", "function": function}


@dataclass
class WrittenOutput:
    """The output that was written for one choice. `unfit`: why it cannot be registered.

    characters            those of the text, the refusal and the tool calls; `MAX_TEXT` at most
    reasoning_characters  those of the reasoning; as many at most
    beside_the_text       whether there was anything but a text
    """

    parts: list[str] = field(default_factory=list)
    characters: int = 0
    reasoning: list[str] = field(default_factory=list)
    reasoning_characters: int = 0
    refusal: list[str] = field(default_factory=list)
    calls: dict[int, WrittenCall] = field(default_factory=dict)
    token_ids: list[int] = field(default_factory=list)
    log_probs: list[float] = field(default_factory=list)
    finish_reason: str | None = None
    beside_the_text: bool = False
    too_many_tokens: bool = False
    unfit: str | None = None

    @property
    def text(self) -> str:
        return "".join(self.parts)

    @property
    def empty(self) -> bool:
        """Returns whether there is no answer: reasoning alone is none."""
        return not (self.calls or self.refusal or self.text.strip())

    def answer(self) -> str | dict[str, Any]:
        """Returns the text, or the assistant's message if there is more."""
        text = self.text
        message: dict[str, Any] = {"role": "assistant"}
        if text:
            message["content"] = text
        if self.reasoning:
            message["reasoning_content"] = "".join(self.reasoning)
        if self.refusal:
            message["refusal"] = "".join(self.refusal)
        if self.calls:
            message["tool_calls"] = [call.as_sent() for _, call in sorted(self.calls.items())]
        return text if message.keys() <= {"role", "content"} else message

    def has_broken_call(self, *, cut: bool) -> bool:
        """Returns whether the arguments of a call are not a JSON object, as after a cut in the middle."""
        if not self.calls:
            return False
        *_, last = sorted(self.calls)
        if (cut or self.finish_reason == "length") and not self.calls[last].arguments:
            return True  # else an empty text is a call without arguments
        answer = self.answer()
        assert isinstance(answer, dict)
        try:
            normal_message(answer)
        except UnreadableMessage:
            return True
        return False

    def add_message(self, message: Mapping[str, Any]) -> None:
        """Takes a message, or a piece of one."""
        self.add_text(message.get("content"))
        for name, value in message.items():
            if value and name in BESIDE_THE_TEXT:
                self.add_beside(message)
                return

    def add_text(self, text: Any) -> None:
        if isinstance(text, str) and text and self.unfit is None:
            self.characters += len(text)
            if self.characters > MAX_TEXT:
                self.give_up("too_large")
            else:
                self.parts.append(text)

    def add_beside(self, message: Mapping[str, Any]) -> None:
        """Takes what a message, or a piece of one, has besides its text."""
        if any(message.get(name) for name in UNSUPPORTED):
            self.give_up("unsupported_content")
        if reasoning := next((message[name] for name in REASONING if message.get(name)), None):
            self._add_reasoning(reasoning)
        if refusal := message.get("refusal"):
            self._add(refusal, self.refusal)
        if calls := message.get("tool_calls"):
            self._add_calls(calls)

    def add_tokens(self, token_ids: Any, log_probs: Any) -> None:
        if isinstance(token_ids, list):
            self.token_ids += token_ids
        if log_probs:
            self.log_probs += log_probs
        if max(len(self.token_ids), len(self.log_probs)) > MAX_TOKENS:
            self.forget_tokens()
            self.too_many_tokens = True

    def forget_tokens(self) -> None:
        self.token_ids, self.log_probs = [], []

    def give_up(self, reason: str) -> None:
        """Forgets what was written, as it cannot be registered."""
        self.unfit = self.unfit or reason
        for pieces in (self.parts, self.reasoning, self.refusal):
            pieces.clear()
        self.calls.clear()

    def _add_reasoning(self, reasoning: Any) -> None:
        self.beside_the_text = True
        if not isinstance(reasoning, str):
            self.give_up("unsupported_content")
        if self.unfit is None:
            self.reasoning_characters += len(reasoning)
            if self.reasoning_characters > MAX_TEXT:
                self.give_up("too_large")
            else:
                self.reasoning.append(reasoning)

    def _add(self, piece: Any, pieces: list[str]) -> None:
        """Adds a piece of the refusal or of a call."""
        self.beside_the_text = True
        if not isinstance(piece, str):
            self.give_up("unsupported_content")
        if self.unfit is None:
            self.characters += len(piece)
            if self.characters > MAX_TEXT:
                self.give_up("too_large")
            else:
                pieces.append(piece)

    def _add_calls(self, calls: Any) -> None:
        self.beside_the_text = True
        if not isinstance(calls, list):
            self.give_up("unsupported_content")
            return
        for place, call in enumerate(calls):
            if self.unfit is not None:
                return
            self._add_call(place, call)

    def _add_call(self, place: int, given: Any) -> None:
        """Takes a call or a piece of one; only pieces have an index."""
        function = given.get("function") if isinstance(given, dict) else None
        if not isinstance(function, dict) or given.get("type") not in (None, "function"):
            self.give_up("unsupported_content")
            return
        index = given.get("index")
        call = self.calls.setdefault(index if isinstance(index, int) else place, WrittenCall())
        if len(self.calls) > MOST_CALLS:
            self.give_up("too_large")
            return
        if given.get("id") and not call.id:  # some servers repeat it with each piece
            self._add(given["id"], call.id)
        for name, pieces in (("name", call.name), ("arguments", call.arguments)):
            if function.get(name):
                self._add(function[name], pieces)
