"""A run's events, followed over as many connections as it takes: server-sent events, read and resumed."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass

import httpx

from thumbwheel.failures import ApiError, Unreachable, pauses, successful
from thumbwheel.wire.run_events import RUN_EVENTS, AnyRunEvent, RunEndEvent

#: The server says that it is there every 15 s: a connection that is silent for longer is dead.
SILENT_SECONDS = 40.0


@dataclass(frozen=True)
class Frame:
    """One event as it stands in the stream."""

    event: str
    data: str


def followed(
    http: httpx.Client, request: Callable[[str | None], httpx.Request], tries: int, last_event_id: str | None
) -> Iterator[AnyRunEvent]:
    """What the stream tells, until the run has ended. It comes back where the stream is cut.

    request        the call that goes on behind an event's id
    tries          how often in a row a call may tell nothing
    last_event_id  begin behind it

    Raises `Unreachable`, `ApiError`.
    """
    left = pauses(tries)
    while True:
        try:
            with closing(http.send(request(last_event_id), stream=True)) as response:
                if response.status_code == 204:
                    return
                for event in _events(response):
                    left, last_event_id = pauses(tries), event.id
                    yield event
                    if isinstance(event, RunEndEvent):
                        return
            cause: Exception = EOFError("the stream ends before it tells anything")
        except httpx.TransportError as error:
            cause = error
        except ApiError as error:
            if error.status != 503:
                raise
            cause = error
        last, pause = next(left)
        if last:
            raise Unreachable(str(http.base_url).rstrip("/"), cause) from cause
        time.sleep(pause)


def _events(response: httpx.Response) -> Iterator[AnyRunEvent]:
    if not response.is_success:
        response.read()
    for frame in frames(successful(response).iter_bytes()):
        model = RUN_EVENTS.get(frame.event)
        if model is not None:  # None: of a newer server
            yield model.model_validate_json(frame.data)


def frames(chunks: Iterable[bytes]) -> Iterator[Frame]:
    """The events in a stream of bytes; comments, and what a cut left unfinished, are left out."""
    rest = b""
    event, data = "message", list[str]()
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            name, _, value = line.decode().rstrip("\r").partition(":")
            value = value.removeprefix(" ")
            if name == "event":
                event = value
            elif name == "data":
                data.append(value)
            elif not name and not value:
                if data:
                    yield Frame(event, "\n".join(data))
                event, data = "message", []
