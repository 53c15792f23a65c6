"""`ObservedCall`: one call of a product to a model, from its request to the registration of what the model wrote."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

from pydantic_core import from_json, to_json

from thumbwheel.context import remember_completion
from thumbwheel.feedback_queue import FeedbackQueue
from thumbwheel.openai_shape.choices import choice_id, prompts_in, sampling_of
from thumbwheel.openai_shape.outputs import WrittenOutput
from thumbwheel.openai_shape.prompts import NotStorable, prompt_of

#: Headers of the gateway, which wrapped clients understand, too.
COMPLETION, CONVERSATION = "x-thumbwheel-completion-id", "x-thumbwheel-conversation"
#: Types of the values by which an OpenAI client says that a parameter is not given.
NOT_GIVEN = frozenset({"NotGiven", "Omit"})


class ObservedCall:
    """The request as it was before the call, and what has been written for it.

    Nothing here raises into the product's call, except if the queue raises errors.
    """

    def __init__(self, queue: FeedbackQueue, request: Mapping[str, Any], *, chat: bool) -> None:
        self._queue = queue
        self._chat = chat
        self._ended = False
        self._id: str | None = None
        self._model: str | None = None
        self._outputs: dict[int, WrittenOutput] = {}
        given = {name: value for name, value in request.items() if type(value).__name__ not in NOT_GIVEN}
        headers = {name.lower(): str(value) for name, value in (given.pop("extra_headers", None) or {}).items()}
        extra = given.pop("extra_body", None) or {}
        self._given_id = headers.get(COMPLETION)
        self._conversation = headers.get(CONVERSATION)
        # A copy, as products add the answer to their list of messages; models of OpenAI's package become objects.
        body = {name: value for name, value in {**given, **extra}.items() if name not in ("timeout", "extra_query")}
        self._body: dict[str, Any] = from_json(to_json(body, exclude_none=True, serialize_unknown=True))
        self._n = int(self._body.get("n") or 1)

    def add(self, answer: Any) -> None:
        """Takes a whole answer, or a chunk of one."""
        try:
            self._id = self._id or getattr(answer, "id", None)
            self._model = getattr(answer, "model", None) or self._model
            for choice in getattr(answer, "choices", None) or ():
                self._add_choice(choice)
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
            answer_id = self._given_id or self._id or str(uuid4())
            choices = self._n * (1 if self._chat else prompts_in(self._body.get("prompt")))
            for index, output in sorted(self._outputs.items()):
                self._register(choice_id(answer_id, index, choices), index, output, ended)
        except Exception as error:
            if self._queue.raises_errors:
                raise
            self._failed(error)

    def _add_choice(self, choice: Any) -> None:
        output = self._outputs.setdefault(choice.index, WrittenOutput())
        if self._chat:
            message = getattr(choice, "delta", None) or getattr(choice, "message", None)
            if message is None:
                pass
            elif _is_text(message):
                output.add_text(message.content)
            else:
                output.add_message(message.model_dump(exclude_none=True, warnings=False))
        else:
            output.add_text(choice.text)
        output.finish_reason = choice.finish_reason or output.finish_reason

    def _register(self, completion_id: str, index: int, output: WrittenOutput, ended: str | None) -> None:
        remember_completion(completion_id)
        cut = ended is not None and output.finish_reason is None
        reason = output.unfit or ("empty" if output.empty else None)
        if reason is None and output.has_broken_call(cut=cut):
            reason = "broken_call"
        if reason is not None:
            self._queue.refuse(completion_id, reason, "there is nothing that can be registered")
            return
        try:
            prompt = prompt_of(self._body, index, self._n, chat=self._chat)
        except NotStorable as error:
            self._queue.refuse(completion_id, "unsupported_content", str(error))
            return
        metadata = self._body.get("metadata")
        finish_reason = ended if cut else output.finish_reason
        self._queue.complete(
            prompt,
            output.answer(),
            completion_id=completion_id,
            conversation_id=self._conversation,
            sampling={**sampling_of(self._body), "model": self._model, "finish_reason": finish_reason},
            metadata=metadata if isinstance(metadata, dict) else None,
        )

    def _failed(self, error: Exception) -> None:
        self._ended = True
        self._queue.refuse(self._given_id or self._id or "", "failed", f"{type(error).__name__}: {error}")


def _is_text(message: Any) -> bool:
    """Returns whether a message, or a piece of one, has nothing but a text: most pieces of a stream."""
    beside: Sequence[str] = ("tool_calls", "refusal", "function_call", "audio", "model_extra")
    return not any(getattr(message, name, None) for name in beside)
