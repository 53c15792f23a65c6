"""`FeedbackQueue`: feedback from a product's requests, sent in the background.

from thumbwheel import FeedbackQueue

thumbs = FeedbackQueue("http://127.0.0.1:8000", api_key="tw_…", project="support")
thumbs.complete("Where is my parcel?", "On its way.", completion_id="msg-1042")
thumbs.up("msg-1042", "user-77")

A put makes the id and the bytes of an item, and leaves the rest to a thread: see `sender`. What waits is in memory.
"""

import atexit
import os
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from random import Random
from types import TracebackType
from typing import Any, Literal, Self, TypedDict, Unpack, cast, get_args
from uuid import UUID

from pydantic_core import to_json

from thumbwheel import wire
from thumbwheel.connection_settings import ConnectionSettings, disabled_by_environment
from thumbwheel.context import current_context, remember_completion
from thumbwheel.errors import QueueFull
from thumbwheel.feedback_queue.buffer import Buffer, Item, Kind, WhenFull
from thumbwheel.feedback_queue.completion_functions import Decorator, registering
from thumbwheel.feedback_queue.delivery import Undelivered, undelivered
from thumbwheel.feedback_queue.item_fields import add_context, require_sendable
from thumbwheel.feedback_queue.notices import Notices
from thumbwheel.feedback_queue.processes import begin_again_when_forked, close_at_end_of_child
from thumbwheel.feedback_queue.results import QueueFigures, Results
from thumbwheel.feedback_queue.sender import QueueSender

MOST_ITEMS, MOST_BYTES = 10_000, 32 * 2**20
INTERVAL_SECONDS, TIMEOUT_SECONDS, CLOSE_SECONDS = 0.5, 10.0, 5.0

#: A prompt as models of this package, or as the JSON that goes to the model.
AnyPrompt = str | Sequence[wire.Message | Mapping[str, Any]] | wire.ChatWithTools | Mapping[str, Any]
AnyAnswer = str | wire.Message | Mapping[str, Any]
MODELS: Mapping[Kind, type[wire.Event | wire.Completion]] = {
    "event": wire.Event,
    "completion": wire.IdentifiedCompletion,
}


class EventDetails(TypedDict, total=False):
    """The fields of an event that may be left out."""

    prompt: AnyPrompt | None
    completion: AnyAnswer | None
    checkpoint_id: UUID | None
    occurred_at: datetime | None
    metadata: Mapping[str, Any] | None
    event_id: str | None
    supersedes: str | None
    conversation_id: str | None
    never_train: bool


class FeedbackQueue:
    """One queue per process is enough; its methods may be called from any thread, task and signal handler.

    url, api_key, project  as of `Client`
    max_items, max_bytes   bounds of what waits
    when_full              drop_newest or drop_oldest
    interval               seconds that an item waits for others at most, before they are sent together
    timeout                seconds of silence after which an attempt to send fails
    close_seconds          seconds that the end of the process waits at most for what is left
    on_error               is called, mostly in a thread of the queue, with each item that will not be sent again
    raise_errors           makes methods raise the errors of which they otherwise tell `on_error`, for tests
    disabled               sends nothing; None: as THUMBWHEEL_DISABLED says

    Puts never wait and never raise, except with `raise_errors`. A forked process begins with an empty queue.
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        project: str | None = None,
        *,
        max_items: int = MOST_ITEMS,
        max_bytes: int = MOST_BYTES,
        when_full: WhenFull = "drop_newest",
        interval: float = INTERVAL_SECONDS,
        timeout: float = TIMEOUT_SECONDS,
        close_seconds: float = CLOSE_SECONDS,
        on_error: Callable[[Undelivered], None] | None = None,
        raise_errors: bool = False,
        disabled: bool | None = None,
    ) -> None:
        if when_full not in get_args(WhenFull):
            raise ValueError(f"when_full: expected {' or '.join(get_args(WhenFull))}, got {when_full!r}.")
        self._settings = ConnectionSettings.of(url, api_key, project)
        self._bounds = (max_items, max_bytes, when_full)
        self._interval, self._timeout, self._close_seconds = interval, timeout, close_seconds
        self._on_error, self.raises_errors = on_error, raise_errors
        self.disabled = disabled_by_environment() if disabled is None else disabled
        self._closed = False
        self.begin()
        if not self.disabled:
            self._sender.delivery.connect()
            begin_again_when_forked(self)
            atexit.register(self.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        self.close()

    def up(self, completion_id: str, actor: str | None = None, **details: Unpack[EventDetails]) -> str:
        """Puts a thumb up of `actor`, or of the actor of the context, and returns the event's id."""
        return self.feedback(completion_id, actor, "up", **details)

    def down(self, completion_id: str, actor: str | None = None, **details: Unpack[EventDetails]) -> str:
        """Puts a thumb down of `actor`, or of the actor of the context, and returns the event's id."""
        return self.feedback(completion_id, actor, "down", **details)

    def feedback(
        self,
        completion_id: str,
        actor: str | None,
        signal: wire.Signal | Literal["up", "down"],
        **details: Unpack[EventDetails],
    ) -> str:
        """Puts an event and returns its id. Parameters are those of `Client.feedback`; it happened now, unless
        `occurred_at` says when."""
        event_id = str(details.get("event_id") or self._new_id())
        context = current_context()
        fields: dict[str, Any] = {
            **{name: value for name, value in details.items() if value is not None},
            "event_id": event_id,
            "completion_id": completion_id,
            "actor": actor or context.actor,
            "signal": {"kind": "thumbs", "value": signal} if isinstance(signal, str) else signal,
        }
        fields.setdefault("occurred_at", datetime.now(UTC))
        self._put("event", event_id, fields)
        return event_id

    def event(self, event: wire.Event) -> str:
        """Puts an event as it is, with an id and the time if it has none, and returns its id."""
        event_id = str(getattr(event, "event_id", None) or self._new_id())
        if not isinstance(cast(Any, event), wire.Event):
            error = TypeError(f"expected a wire.Event, got {type(event).__name__}")
            if self.raises_errors:
                raise error
            self._invalid("event", event_id, error)
            return event_id
        now = {} if event.origin == "import" else {"occurred_at": datetime.now(UTC)}
        self._put("event", event_id, {**now, **event.model_dump(exclude_none=True), "event_id": event_id})
        return event_id

    def complete(
        self,
        prompt: AnyPrompt,
        completion: AnyAnswer,
        *,
        completion_id: str | None = None,
        checkpoint_id: UUID | None = None,
        conversation_id: str | None = None,
        sampling: Mapping[str, Any] | None = None,
        token_ids: Sequence[int] | None = None,
        log_probs: Sequence[float] | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> str:
        """Puts the registration of a prompt and its completion, and returns the completion's id, which is made here if
        none is given."""
        completion_id = str(completion_id or self._new_id())
        remember_completion(completion_id)
        fields = {
            "completion_id": completion_id,
            "prompt": prompt,
            "completion": completion,
            "checkpoint_id": checkpoint_id,
            "conversation_id": conversation_id,
            "sampling": sampling,
            "token_ids": token_ids,
            "log_probs": log_probs,
            "metadata": metadata,
        }
        self._put("completion", completion_id, {name: value for name, value in fields.items() if value is not None})
        return completion_id

    def completion(self, *, prompt: str | None = None, completion_id: str | None = None) -> Decorator:
        """Returns a decorator for functions that return a completion: a text, a message, or a text piece by piece.

        prompt         the parameter that holds the prompt; None: the first one
        completion_id  the parameter that holds the id; None: an id is made, which `last_completion_id` returns inside
                       the function and after it
        """
        return registering(self.complete, prompt, completion_id)

    def refuse(self, completion_id: str, code: str, reason: str) -> None:
        """Counts a completion that cannot be registered, and tells `on_error` of it."""
        self._results.tell([Undelivered("completion", completion_id, code, reason, b"")])

    def flush(self, seconds: float = CLOSE_SECONDS) -> bool:
        """Returns whether all that was put before is stored, or refused, within `seconds`. It waits: call it from a
        thread in asynchronous code. Raises `NotDelivered` if the queue raises errors."""
        flushed = self.disabled or self._closed or self._sender.flush(seconds)
        self._results.raise_faults()
        return flushed

    def close(self, seconds: float | None = None) -> bool:
        """Sends what waits, for up to `seconds`, and returns whether that was all of it. Later puts are dropped."""
        atexit.unregister(self.close)
        if self.disabled or self._closed:
            return True
        self._closed = True
        self._buffer.close()
        left = self._sender.close(self._close_seconds if seconds is None else seconds)
        if left:
            reason = "the queue was closed before the API took it"
            self._notices.warn("left", "%d items of feedback were not sent before the queue was closed", len(left))
            self._results.tell([undelivered(item, "closed", reason) for item in left])
        self._results.raise_faults()
        return not left

    @property
    def figures(self) -> QueueFigures:
        buffer, results = self._buffer, self._results
        return QueueFigures(
            waiting=buffer.items,
            waiting_bytes=buffer.bytes,
            stored=results.stored,
            replayed=results.replayed,
            refused=results.refused,
            dropped=buffer.dropped,
            lost=results.lost,
        )

    def begin(self) -> None:
        """Begins with an empty queue: of a new process, too, in which the threads of its parent do not run."""
        self._buffer = Buffer(*self._bounds)
        if self._closed:
            self._buffer.close()
        self._notices = Notices()
        self._results = Results(self._on_error, self._notices, keeps_faults=self.raises_errors)
        self._sender = QueueSender(
            self._buffer,
            self._settings,
            self._results.settle,
            self._warn_of_failure,
            interval=self._interval,
            timeout=self._timeout,
        )
        self._random = Random(os.urandom(16))
        self._was_put = False

    def _new_id(self) -> str:
        """Returns an id of the time and random bits. `os.urandom` would let other threads run in the middle of a put.

        The time tells copies of a process image apart, which draw the same random bits.
        """
        return f"{time.time_ns():016x}{self._random.getrandbits(64):016x}"

    def _put(self, kind: Kind, name: str, fields: dict[str, Any]) -> None:
        if self.disabled:
            return
        try:
            require_sendable(name, fields)
            add_context(fields)
            item = Item(kind, name, to_json(fields, exclude_none=True))
            if self.raises_errors:
                MODELS[kind].model_validate_json(item.body)
            if not self._was_put:
                self._was_put = True
                close_at_end_of_child(self.close)
            dropped = self._buffer.dropped
            waiting = self._buffer.put(item)
            if waiting:
                self._sender.notice(kind, waiting)
            if not waiting or self._buffer.dropped > dropped:
                self._warn_of_drops(waiting)
        except Exception as error:
            if self.raises_errors:
                raise
            self._invalid(kind, name, error)

    def _invalid(self, kind: Kind, name: str, error: Exception) -> None:
        if not self.disabled:
            self._results.tell([Undelivered(kind, name, "invalid", str(error), b"")])

    def _warn_of_drops(self, waiting: int) -> None:
        if self._closed:
            self._notices.warn("closed", "the feedback queue is closed: feedback is dropped")
        else:
            dropped, figures = self._buffer.dropped, (self._buffer.items, self._buffer.bytes)
            self._notices.warn("full", "the feedback queue is full (%d items, %d bytes): %d dropped", *figures, dropped)
        if self.raises_errors and not waiting:
            raise QueueFull("The feedback queue has no room, or is closed: send less, or give it more room.")

    def _warn_of_failure(self) -> None:
        self._notices.warn(
            "failed", "%s takes no feedback at the moment: %d items wait", self._settings.url, self._buffer.items
        )
