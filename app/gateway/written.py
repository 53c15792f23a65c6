"""Makes registrations of what was written: the body of each completion, or the reason why the log cannot hold it.
Pure.
"""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from pydantic import ValidationError
from thumbwheel import wire
from thumbwheel.openai_shape.outputs import WrittenOutput
from thumbwheel.openai_shape.prompts import NotStorable, prompt_of

from app.gateway.requests import OpenAIRequest

#: Bytes of a token id and its log-prob in memory, and of a registration besides its texts.
TOKEN_BYTES, OTHER_BYTES = 64, 2048


class Unregistrable(ValueError):
    """`reason`: one of the words that unregistered completions are counted by."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, eq=False)
class WrittenCompletion:
    """The answer that a target wrote for a choice, with all that is registered with it.

    ended  why the answer ended before its end: client_closed, target_cut, shutdown; None if it did not
    """

    project: str
    completion_id: str
    request: OpenAIRequest
    index: int
    output: WrittenOutput
    checkpoint_id: UUID
    target: str
    model: str
    ended: str | None
    size: int

    def body(self) -> wire.Completion:
        """Returns the body of the registration. Raises `Unregistrable`."""
        output, request = self.output, self.request
        if output.unfit is not None:
            raise Unregistrable(output.unfit)
        if output.empty:
            raise Unregistrable("empty")
        if output.has_broken_call(cut=self.ended is not None):
            raise Unregistrable("broken_call")
        try:
            prompt = prompt_of(request.body, self.index, request.n, chat=request.chat)
        except NotStorable:
            raise Unregistrable("unsupported_content") from None
        fields = {
            "prompt": prompt,
            "completion": output.answer(),
            "checkpoint_id": self.checkpoint_id,
            "conversation_id": request.conversation_id,
            "sampling": {
                **request.sampling,
                "model": self.model,
                "target": self.target,
                "finish_reason": self.ended or output.finish_reason,
            },
            "metadata": request.metadata,
        }
        tokens = {"token_ids": output.token_ids or None, "log_probs": output.log_probs or None}
        try:
            return _validated({**fields, **tokens})
        except ValidationError as error:
            if _places(error) <= tokens.keys():  # a server that gives other numbers loses no thumbs
                return self._without_tokens(fields)
            raise Unregistrable(_reason(error)) from error

    def _without_tokens(self, fields: dict[str, Any]) -> wire.Completion:
        try:
            return _validated(fields)
        except ValidationError as error:
            raise Unregistrable(_reason(error)) from error


def size_of(request_bytes: int, output: WrittenOutput) -> int:
    """Returns about the number of bytes that a waiting registration takes."""
    characters = output.characters + output.reasoning_characters
    return OTHER_BYTES + 4 * request_bytes + 4 * characters + TOKEN_BYTES * len(output.token_ids)


def _validated(fields: dict[str, Any]) -> wire.Completion:
    return wire.Completion.model_validate(fields)


def _places(error: ValidationError) -> set[Any]:
    return {fault["loc"][0] if fault["loc"] else "log_probs" for fault in error.errors(include_url=False)}


def _reason(error: ValidationError) -> str:
    kinds = {fault["type"] for fault in error.errors(include_url=False)}
    return "too_large" if kinds & {"string_too_long", "too_long"} else "unsupported_content"
