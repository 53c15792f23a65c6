"""Rewrites the answers of targets for callers, and keeps what was written. Pure.

A caller sees the completion id and the project's name in place of the server's own, and neither log-probs, token ids
nor usage unless it asked for them.
"""

from typing import Any

import msgspec
from thumbwheel.openai_shape.choices import choice_id
from thumbwheel.openai_shape.outputs import WrittenOutput

from app.gateway.requests import OpenAIRequest


class GatewayAnswer:
    """The answer to one request. `completion_id`: its id, which the caller sees."""

    def __init__(self, request: OpenAIRequest, completion_id: str) -> None:
        self.completion_id = completion_id
        self.failed = False
        self._request = request
        self._hides_log_probs = not request.wants_log_probs
        self._hides_token_ids = not request.wants_token_ids
        self._hides_usage = not request.wants_usage
        self._outputs: dict[int, WrittenOutput] = {}
        self._completion_tokens: int | None = None

    def rewritten(self, data: bytes) -> bytes | None:
        """Returns a chunk of a stream, or a whole answer, for the caller; None for a chunk that it did not ask for.

        Raises `ValueError` if it is not a JSON object.
        """
        document = msgspec.json.decode(data)
        if not isinstance(document, dict):
            raise ValueError("not a JSON object")
        if "error" in document:
            self.failed = True
            return msgspec.json.encode(document)
        document["id"] = self.completion_id
        document["model"] = self._request.model
        choices = document.get("choices")
        if isinstance(choices, list):
            for choice in choices:
                if isinstance(choice, dict):
                    self._choice(choice)
        usage = document.get("usage")
        if isinstance(usage, dict):
            self._completion_tokens = usage.get("completion_tokens")
        if self._hides_usage:
            document.pop("usage", None)
            if not choices and usage:
                return None
        if self._hides_token_ids:
            document.pop("prompt_token_ids", None)
        return msgspec.json.encode(document)

    @property
    def finished(self) -> bool:
        """Returns whether every choice has come to its end."""
        finished = [output for output in self._outputs.values() if output.finish_reason is not None]
        return len(finished) == self._request.choices

    def outputs(self) -> dict[int, WrittenOutput]:
        """Returns what was written, by the number of the choice.

        Token ids and log-probs that do not cover exactly the tokens that the model wrote are left out. Parsers of
        reasoning and tool calls may swallow tokens, so what they took apart needs the server's own count.
        """
        tokens = sum(len(output.token_ids) for output in self._outputs.values())
        counted = self._completion_tokens
        for output in self._outputs.values():
            complete = counted == tokens or (counted is None and not output.beside_the_text)
            one_to_one = output.token_ids and len(output.log_probs) in (0, len(output.token_ids))
            if not (complete and one_to_one and self._request.shows_reasoning) or output.too_many_tokens:
                output.forget_tokens()
        return self._outputs

    def _choice(self, choice: dict[str, Any]) -> None:
        index = choice.get("index")
        if not isinstance(index, int) or not 0 <= index < self._request.choices:
            return
        output = self._outputs.get(index)
        if output is None:
            output = self._outputs[index] = WrittenOutput()
        if self._request.chat:
            self._chat_text(choice, output)
        else:
            output.add_text(choice.get("text"))
        log_probs = choice.get("logprobs")
        output.add_tokens(choice.get("token_ids"), _log_probs(log_probs) if log_probs else None)
        finish_reason = choice.get("finish_reason")
        if isinstance(finish_reason, str):
            output.finish_reason = finish_reason
        if self._hides_log_probs and "logprobs" in choice:
            choice["logprobs"] = None
        if self._hides_token_ids:
            choice.pop("token_ids", None)
            choice.pop("prompt_token_ids", None)
        if self._request.choices > 1:
            choice["completion_id"] = choice_id(self.completion_id, index, self._request.choices)

    def _chat_text(self, choice: dict[str, Any], output: WrittenOutput) -> None:
        message = choice["delta"] if "delta" in choice else choice.get("message")
        if isinstance(message, dict):
            output.add_message(message)


def _log_probs(log_probs: Any) -> list[float]:
    """Returns the log-prob of each token: chats have a list of objects, other completions a list of numbers."""
    if not isinstance(log_probs, dict):
        return []
    content = log_probs.get("content")
    if isinstance(content, list):
        return [token["logprob"] for token in content if isinstance(token, dict) and "logprob" in token]
    numbers = log_probs.get("token_logprobs")
    return list(numbers) if isinstance(numbers, list) else []
