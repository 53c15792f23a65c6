"""The actor, the conversation and the trace that feedback belongs to, for code that does not pass them on.

with feedback_context(actor="user-77", conversation_id="chat-7"):
    answer(question)  # whatever is sent in here is about this actor and this conversation

A context ends with its block, and is seen by the functions and tasks that are started in it, but not by threads, unless
they copy it (`asyncio.to_thread` does). If `opentelemetry-api` is installed, the ids of the current span are added to
the metadata of what is sent.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any

_current_span: Callable[[], Any] | None
try:
    from opentelemetry.trace import get_current_span
except ImportError:
    _current_span = None
else:
    _current_span = get_current_span


@dataclass(frozen=True)
class FeedbackContext:
    """Settings of `feedback_context`."""

    actor: str | None = None
    conversation_id: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


_NOTHING = FeedbackContext()
_current: ContextVar[FeedbackContext] = ContextVar("thumbwheel", default=_NOTHING)
_last_completion: ContextVar[str | None] = ContextVar("thumbwheel_completion", default=None)


@contextmanager
def feedback_context(
    *, actor: str | None = None, conversation_id: str | None = None, metadata: Mapping[str, Any] | None = None
) -> Iterator[None]:
    """Sets what is given for everything that is sent within the block; what is not given stays as it is outside."""
    outer = _current.get()
    token = _current.set(
        replace(
            outer,
            actor=actor or outer.actor,
            conversation_id=conversation_id or outer.conversation_id,
            metadata={**outer.metadata, **(metadata or {})},
        )
    )
    try:
        yield
    finally:
        _current.reset(token)


def current_context() -> FeedbackContext:
    return _current.get()


def last_completion_id() -> str | None:
    """Returns the id of the completion that was last registered in this context: by a decorated function, by a wrapped
    OpenAI client, or by `FeedbackQueue.complete`."""
    return _last_completion.get()


def remember_completion(completion_id: str) -> None:
    _last_completion.set(completion_id)


def trace_ids() -> dict[str, str]:
    """Returns `trace_id` and `span_id` of the current OpenTelemetry span, in hexadecimal digits; {} without one."""
    if _current_span is None:
        return {}
    span = _current_span().get_span_context()
    if not span.is_valid:
        return {}
    return {"trace_id": format(span.trace_id, "032x"), "span_id": format(span.span_id, "016x")}
