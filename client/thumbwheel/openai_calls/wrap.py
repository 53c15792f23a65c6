"""`wrap_openai`: makes a client of the package `openai` register what it is answered.

client = wrap_openai(OpenAI(), thumbs)
answer = client.chat.completions.create(model="…", messages=messages)
thumbs.up(answer.id, "user-77")

Answers, chunks and errors reach the product as they are. The package `openai` is not imported here.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import reduce, wraps
from typing import Any, TypeVar

from thumbwheel.context import remember_completion
from thumbwheel.feedback_queue import FeedbackQueue
from thumbwheel.openai_calls.observed_call import COMPLETION, ObservedCall
from thumbwheel.openai_calls.shapes import CallShape, ChatShape, ResponseShape, TextShape
from thumbwheel.openai_calls.streams import AsyncObservedStream, ObservedStream

OpenAIClient = TypeVar("OpenAIClient")

#: The header by which OpenAI's clients ask for an answer with its headers.
RAW_RESPONSE = "X-Stainless-Raw-Response"
METHODS = ("create", "parse")
SHAPES: Mapping[str, CallShape] = {
    "chat.completions": ChatShape(),
    "completions": TextShape(),
    "responses": ResponseShape(),
}


def wrap_openai(client: OpenAIClient, queue: FeedbackQueue) -> OpenAIClient:
    """Makes the client, `OpenAI` or `AsyncOpenAI`, register chats, texts and responses; returns the same client.

    The id of a completion is the answer's `id`, and `id-0`, `id-1`, … for several choices; or the header
    `X-Thumbwheel-Completion-Id` of the request. An answer that came through the gateway is registered already. Copies
    of the client (`with_options`) do the same. Answers that are asked for with their headers (`with_raw_response`,
    `with_streaming_response`) are not registered.
    """
    openai: Any = client
    if queue.disabled or getattr(openai, "_thumbwheel", None) is queue:
        return client
    openai._thumbwheel = queue
    observed = _asynchronous if hasattr(openai, "__aenter__") else _synchronous
    for path, shape in SHAPES.items():
        resource = reduce(lambda parent, name: getattr(parent, name, None), path.split("."), openai)
        for name in METHODS:  # an older package has neither all resources nor all methods
            if hasattr(resource, name):
                original, raw = getattr(resource, name), getattr(resource.with_raw_response, name)
                setattr(resource, name, wraps(original)(observed(original, raw, queue, shape)))
    for name in ("copy", "with_options"):
        setattr(openai, name, _copying(getattr(openai, name), queue))
    return client


def _synchronous(
    original: Callable[..., Any], raw: Callable[..., Any], queue: FeedbackQueue, shape: CallShape
) -> Callable[..., Any]:
    def call(*args: Any, **request: Any) -> Any:
        observed = _begin(queue, request, shape)
        if observed is None:
            return original(*args, **request)
        response = raw(*args, **request)
        answer = response.parse()
        if _registered_by_gateway(response.headers):
            return answer
        if request.get("stream"):
            return ObservedStream(answer, observed)
        observed.add(answer)
        observed.end()
        return answer

    return call


def _asynchronous(
    original: Callable[..., Any], raw: Callable[..., Any], queue: FeedbackQueue, shape: CallShape
) -> Callable[..., Any]:
    async def call(*args: Any, **request: Any) -> Any:
        observed = _begin(queue, request, shape)
        if observed is None:
            return await original(*args, **request)
        response = await raw(*args, **request)
        answer = response.parse()
        if inspect.isawaitable(answer):  # as it will be in a later version of the package
            answer = await answer
        if _registered_by_gateway(response.headers):
            return answer
        if request.get("stream"):
            return AsyncObservedStream(answer, observed)
        observed.add(answer)
        observed.end()
        return answer

    return call


def _begin(queue: FeedbackQueue, request: Mapping[str, Any], shape: CallShape) -> ObservedCall | None:
    """Returns the call; None if it is not observed."""
    headers = request.get("extra_headers")
    if isinstance(headers, Mapping) and RAW_RESPONSE in headers:
        return None
    try:
        return None if _holds_iterator(request) else ObservedCall(queue, request, shape)
    except Exception as error:
        if queue.raises_errors:
            raise
        queue.refuse("", "failed", f"{type(error).__name__}: {error}")
        return None


def _holds_iterator(value: Any) -> bool:
    """Returns whether a part of a request can be read only once: the call itself has to read it."""
    if isinstance(value, dict):
        return any(map(_holds_iterator, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_holds_iterator, value))
    return isinstance(value, Iterator)


def _registered_by_gateway(headers: Mapping[str, str]) -> bool:
    completion_id = headers.get(COMPLETION)
    if completion_id is not None:
        remember_completion(completion_id)
    return completion_id is not None


def _copying(copy: Callable[..., Any], queue: FeedbackQueue) -> Callable[..., Any]:
    @wraps(copy)
    def wrapped(*args: Any, **options: Any) -> Any:
        return wrap_openai(copy(*args, **options), queue)

    return wrapped
