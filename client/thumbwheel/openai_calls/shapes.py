"""The shapes of calls: how prompt and outputs are read from the requests and answers of an operation.

Answers and chunks are models of the package `openai`, which is not imported here; requests are JSON.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from thumbwheel.openai_shape.choices import prompts_in
from thumbwheel.openai_shape.outputs import WrittenCall, WrittenOutput
from thumbwheel.openai_shape.prompts import prompt_of
from thumbwheel.openai_shape.responses import output_of_response, prompt_of_response


@dataclass
class PartialAnswer:
    """The part of an answer that has come. `outputs`: by the number of the choice."""

    id: str | None = None
    model: str | None = None
    outputs: dict[int, WrittenOutput] = field(default_factory=dict)


class CallShape(Protocol):
    def choices(self, body: Mapping[str, Any]) -> int:
        """Returns the number of completions that a request asks for."""

    def prompt(self, body: Mapping[str, Any], index: int) -> Any:
        """Returns the prompt of one of them. Raises `NotStorable`."""

    def add(self, answer: Any, written: PartialAnswer) -> None:
        """Takes a whole answer, or a chunk of one."""


class ChatShape:
    def choices(self, body: Mapping[str, Any]) -> int:
        return _n(body)

    def prompt(self, body: Mapping[str, Any], index: int) -> Any:
        return prompt_of(body, index, _n(body), chat=True)

    def add(self, answer: Any, written: PartialAnswer) -> None:
        _add_identity(answer, written)
        for choice in answer.choices or ():
            output = written.outputs.setdefault(choice.index, WrittenOutput())
            message = getattr(choice, "delta", None) or getattr(choice, "message", None)
            if message is None:
                pass
            elif _is_text(message):
                output.add_text(message.content)
            else:
                output.add_message(_document(message))
            output.finish_reason = choice.finish_reason or output.finish_reason


class TextShape:
    def choices(self, body: Mapping[str, Any]) -> int:
        return _n(body) * prompts_in(body.get("prompt"))

    def prompt(self, body: Mapping[str, Any], index: int) -> Any:
        return prompt_of(body, index, _n(body), chat=False)

    def add(self, answer: Any, written: PartialAnswer) -> None:
        _add_identity(answer, written)
        for choice in answer.choices or ():
            output = written.outputs.setdefault(choice.index, WrittenOutput())
            output.add_text(choice.text)
            output.finish_reason = choice.finish_reason or output.finish_reason


class ResponseShape:
    """The Responses API. The last event of a stream has the whole answer; pieces count if it does not come."""

    def choices(self, _body: Mapping[str, Any]) -> int:
        return 1

    def prompt(self, body: Mapping[str, Any], _index: int) -> Any:
        return prompt_of_response(body)

    def add(self, answer: Any, written: PartialAnswer) -> None:
        kind = getattr(answer, "type", None)
        if kind == "response.output_text.delta":
            written.outputs.setdefault(0, WrittenOutput()).add_text(answer.delta)
        elif kind == "response.output_item.added" and answer.item.type == "function_call":
            written.outputs.setdefault(0, WrittenOutput()).calls[answer.output_index] = WrittenCall()
        elif kind is None or hasattr(answer, "response"):
            response = answer if kind is None else answer.response
            _add_identity(response, written)
            if response.status in ("completed", "incomplete"):
                written.outputs[0] = output_of_response(_document(response))


def _n(body: Mapping[str, Any]) -> int:
    return int(body.get("n") or 1)


def _add_identity(answer: Any, written: PartialAnswer) -> None:
    written.id = written.id or answer.id
    written.model = answer.model or written.model


def _document(model: Any) -> dict[str, Any]:
    document: dict[str, Any] = model.model_dump(mode="json", exclude_none=True, warnings=False)
    return document


def _is_text(message: Any) -> bool:
    """Returns whether a message, or a piece of one, has nothing but a text: most pieces of a stream."""
    beside = ("tool_calls", "refusal", "function_call", "audio", "model_extra")
    return not any(getattr(message, name, None) for name in beside)
