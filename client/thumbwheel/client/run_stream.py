"""A run's events, followed over as many connections as it takes: server-sent events, read and resumed."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import chain

import httpx

from thumbwheel.errors import successful
from thumbwheel.client.retries import FIRST_PAUSE_SECONDS, Retries, if_safe
from thumbwheel.wire.run_events import RUN_EVENTS, AnyRunEvent, RunEndEvent

#: The server says that it is there every 15 s: a connection that is silent for longer is dead.
SILENT_SECONDS = 40.0


@dataclass(frozen=True)
class Frame:
    """One event as it stands in the stream."""

    event: str
    data: str


def followed(
    http: httpx.Client, request: Callable[[str | None], httpx.Request], retries: Retries, last_event_id: str | None
) -> Iterator[AnyRunEvent]:
    """Yields the events of the stream until the run has ended; a stream that is cut is opened again.

    request        makes the call that continues behind an event's id
    retries        limits of consecutive calls that bring no event
    last_event_id  begin behind it

    Raises `Unreachable`, `ApiError`.
    """
    url = str(http.base_url).rstrip("/")
    while True:
        stream = retries.call(url, partial(_Stream, http, request(last_event_id)), if_safe)
        with closing(stream):
            if stream.first is None:
                return
            try:
                for event in chain([stream.first], stream.rest):
                    last_event_id = event.id
                    yield event
                    if isinstance(event, RunEndEvent):
                        return
            except httpx.TransportError:
                pass  # the next call says whether the API is still there
        retries.sleep(FIRST_PAUSE_SECONDS)


class _Stream:
    """An open stream that has brought its first event; None if there is nothing to come."""

    def __init__(self, http: httpx.Client, request: httpx.Request) -> None:
        self._response = http.send(request, stream=True)
        try:
            self.first: AnyRunEvent | None = None
            if self._response.status_code == 204:
                return
            if not self._response.is_success:
                self._response.read()
            self.rest = _events(successful(self._response))
            self.first = next(self.rest, None)
            if self.first is None:
                raise httpx.RemoteProtocolError("the stream ends before its first event")
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._response.close()


def _events(response: httpx.Response) -> Iterator[AnyRunEvent]:
    for frame in frames(response.iter_bytes()):
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
