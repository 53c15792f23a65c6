"""`ObservedCall`: one call of a product to a model, from its request to the registration of what the model wrote."""

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from pydantic_core import from_json, to_json

from thumbwheel.context import remember_completion
from thumbwheel.feedback_queue import FeedbackQueue
from thumbwheel.openai_calls.shapes import CallShape, PartialAnswer
from thumbwheel.openai_shape.choices import choice_id, sampling_of
from thumbwheel.openai_shape.outputs import WrittenOutput
from thumbwheel.openai_shape.prompts import NotStorable

#: Headers of the gateway, which wrapped clients understand, too.
COMPLETION, CONVERSATION = "x-thumbwheel-completion-id", "x-thumbwheel-conversation"
#: Types of the values by which an OpenAI client says that a parameter is not given.
NOT_GIVEN = frozenset({"NotGiven", "Omit"})
#: Parameters of a call that are no part of its request.
NOT_SENT = frozenset({"extra_headers", "extra_body", "extra_query", "timeout"})


class ObservedCall:
    """The request as it was before the call, and what has been written for it.

    Nothing here raises into the product's call, except if the queue raises errors.
    """

    def __init__(self, queue: FeedbackQueue, request: Mapping[str, Any], shape: CallShape) -> None:
        self._queue, self._shape = queue, shape
        self._written = PartialAnswer()
        self._ended = False
        given = {name: value for name, value in request.items() if type(value).__name__ not in NOT_GIVEN}
        headers = {name.lower(): str(value) for name, value in (given.get("extra_headers") or {}).items()}
        self._given_id = headers.get(COMPLETION)
        self._conversation = headers.get(CONVERSATION)
        body = {name: value for name, value in given.items() if name not in NOT_SENT}
        # A copy, as products add the answer to their list of messages; models of OpenAI's package become objects.
        whole = {**body, **(given.get("extra_body") or {})}
        self._body: dict[str, Any] = from_json(to_json(whole, exclude_none=True, serialize_unknown=True))

    def add(self, answer: Any) -> None:
        """Takes a whole answer, or a chunk of one."""
        try:
            self._shape.add(answer, self._written)
        except Exception as error:
            if self._queue.raises_errors:
                raise
            self._failed(error)

    def end(self, ended: str | None = None) -> None:
        """Registers each choice; `ended` says why the answer ended early."""
        if self._ended:
            return
        self._ended = True
        try:
            answer_id = self._given_id or self._written.id or str(uuid4())
            choices = self._shape.choices(self._body)
            for index, output in sorted(self._written.outputs.items()):
                self._register(choice_id(answer_id, index, choices), index, output, ended)
        except Exception as error:
            if self._queue.raises_errors:
                raise
            self._failed(error)

    def _register(self, completion_id: str, index: int, output: WrittenOutput, ended: str | None) -> None:
        remember_completion(completion_id)
        cut = ended is not None and output.finish_reason is None
        reason = output.unfit or ("empty" if output.empty else None)
        if reason is None and output.has_broken_call(cut=cut):
            reason = "broken_call"
        if reason is not None:
            self._queue.refuse(completion_id, reason, "the answer holds nothing that can be registered")
            return
        try:
            prompt = self._shape.prompt(self._body, index)
        except NotStorable as error:
            self._queue.refuse(completion_id, "unsupported_content", f"the log cannot store {error}")
            return
        metadata = self._body.get("metadata")
        finish_reason = ended if cut else output.finish_reason
        self._queue.complete(
            prompt,
            output.answer(),
            completion_id=completion_id,
            conversation_id=self._conversation,
            sampling={**sampling_of(self._body), "model": self._written.model, "finish_reason": finish_reason},
            metadata=metadata if isinstance(metadata, dict) else None,
        )

    def _failed(self, error: Exception) -> None:
        self._ended = True
        completion_id = self._given_id or self._written.id or ""
        self._queue.refuse(completion_id, "failed", f"{type(error).__name__}: {error}")
