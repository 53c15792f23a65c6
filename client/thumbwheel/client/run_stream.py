"""The events of a run as server-sent events, read by httpx-sse and resumed after a broken connection."""

from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID

import httpx
from httpx_sse import EventSource

from thumbwheel.client.http import Http
from thumbwheel.client.retry_rules import first_pause, if_safe
from thumbwheel.errors import successful
from thumbwheel.wire.run_events import RUN_EVENTS, AnyRunEvent, RunEndEvent

#: The server sends a comment every 15 s: a connection that is silent for longer than this is dead.
SILENT_SECONDS = 40.0


def follow(http: Http, run_id: UUID, last_event_id: str | None, *, history: bool) -> Iterator[AnyRunEvent]:
    """Yields the events of a run until it has ended; reopens the stream behind the last event whenever it is cut.

    last_event_id  starts after the event with this id
    history        False starts with the current state, unless `last_event_id` is given

    The limits of the client's retries apply to consecutive connections that bring no event. Raises `Unreachable` and
    `ApiError`.
    """

    def connect() -> RunStream | None:
        headers = {"Accept": "text/event-stream", **({"Last-Event-ID": last_event_id} if last_event_id else {})}
        request = http.request(
            "GET",
            f"/v1/runs/{run_id}/events",
            parameters={"history": str(history).lower()},
            headers=headers,
            timeout=httpx.Timeout(http.timeout, read=SILENT_SECONDS),
        )
        return _begun(http.open(request))

    while True:
        stream = http.retries.call(http.url, connect, if_safe)
        if stream is None:
            return
        try:
            for event in stream.events():
                last_event_id = event.id
                yield event
                if isinstance(event, RunEndEvent):
                    return
        except httpx.TransportError:
            pass  # the next attempt shows whether the API is still there
        finally:
            stream.close()
        http.retries.sleep(first_pause())


@dataclass(frozen=True)
class RunStream:
    """An open stream whose first event has arrived."""

    response: httpx.Response
    first: AnyRunEvent
    rest: Iterator[AnyRunEvent]

    def events(self) -> Iterator[AnyRunEvent]:
        yield self.first
        while (event := next(self.rest, None)) is not None:
            yield event

    def close(self) -> None:
        self.response.close()


def _begun(response: httpx.Response) -> RunStream | None:
    """Returns the stream once its first event is there; None if the run has no more events."""
    try:
        if response.status_code == 204:
            response.close()
            return None
        if not response.is_success:
            response.read()
        rest = _events(successful(response))
        first = next(rest, None)
        if first is None:
            raise httpx.RemoteProtocolError("the stream ends before its first event")
    except BaseException:
        response.close()
        raise
    return RunStream(response, first, rest)


def _events(response: httpx.Response) -> Iterator[AnyRunEvent]:
    for message in EventSource(response).iter_sse():
        model = RUN_EVENTS.get(message.event)
        if model is not None and message.data:  # None: a kind that only a newer server knows
            yield model.model_validate_json(message.data)
