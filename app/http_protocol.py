"""The HTTP/1.1 protocol of the API: uvicorn's, with bounds on requests and a graceful shutdown.

A connection is closed without an answer only if no request has begun on it. Time-outs are checked by one sweep over
all connections (`ApiServer` in `app.server`), so that a request costs no timer of its own.
"""

import asyncio
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast

from fastapi import Response
from starlette.types import ASGIApp
from uvicorn import Config
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from app.web.problems import problem_response

if TYPE_CHECKING:
    from uvicorn._types import ASGI3Application

MAX_URL_BYTES = 8 * 1024
MAX_HEADER_BYTES = 32 * 1024
MAX_HEADERS = 100
#: A body slower than this, averaged after the first `body_seconds`, is refused.
LEAST_BYTES_PER_SECOND = 4 * 1024
#: The time for which a connection is still read after its last answer, so that a reset does not lose the answer.
LINGER_SECONDS = 1.0
#: The time for which an idle connection is kept while the server drains, for a request that may be on its way.
IDLE_SECONDS = 2.0
#: Beyond this multiple of `connections`, a new connection is closed unread, since each takes a file descriptor.
HARD_LIMIT = 1.25


@dataclass(frozen=True)
class Limits:
    """Bounds on the connections of one process.

    header_seconds  a request's line and headers have to be complete within this time
    body_seconds    the longest pause in a body
    connections     the number of connections beyond which requests are answered with 503
    """

    header_seconds: float = 10
    body_seconds: float = 30
    connections: int = 4000


class ApiServerState(ServerState):
    """The state that all connections of one server share."""

    def __init__(self, limits: Limits) -> None:
        super().__init__()
        self.limits = limits
        self.draining = False


URL_TOO_LONG = problem_response(
    414, "url_too_long", f"The URL is longer than {MAX_URL_BYTES // 1024} KiB: send fewer or shorter parameters."
)
HEADERS_TOO_LARGE = problem_response(
    431,
    "headers_too_large",
    f"The headers are more than {MAX_HEADERS}, or longer than {MAX_HEADER_BYTES // 1024} KiB: send fewer.",
)
MALFORMED = problem_response(400, "malformed_request", "The request is not valid HTTP/1.1: check the client.")
HEADERS_TOO_SLOW = problem_response(
    408, "headers_timeout", "The request's headers did not arrive in time: send the request again."
)
BODY_TOO_SLOW = problem_response(
    408, "body_timeout", "The request's body did not arrive in time: send the request again, in smaller parts."
)
TOO_MANY_CONNECTIONS = problem_response(
    503,
    "too_many_connections",
    "Too many connections are open: try again later, and keep connections alive.",
    headers={"Retry-After": "2", "Connection": "close"},
)


class Protocol(HttpToolsProtocol):
    """One connection. `server_state` has to be a `ApiServerState`."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        assert isinstance(server_state, ApiServerState)
        self.state = server_state
        self.refusal: Response | None = None  # the answer to the request that the parser has just rejected
        self.finished = False  # the last answer is written or about to be: further bytes are ignored
        self.head_since: float | None = None  # time since which the headers of a request are awaited
        self.head_bytes = 0
        self.body_since: float | None = None  # time since which a body is awaited
        self.body_bytes = 0
        self.touched = 0.0  # time of the last bytes from the client, or of the last answer
        self.silent = True  # the client has sent no bytes yet
        self.closing_cycle: RequestResponseCycle | None = None  # its answer will have `Connection: close`

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.head_since = self.touched = self.loop.time()
        most = self.state.limits.connections
        if len(self.connections) > most * HARD_LIMIT:
            transport.abort()
        elif len(self.connections) > most:
            self.app = cast("ASGI3Application", _refuse_connection)

    def data_received(self, data: bytes) -> None:
        if self.finished:
            return
        self.touched = self.loop.time()
        self.silent = False
        in_head = self.head_since is not None
        super().data_received(data)
        # Incomplete headers have reached no callback, so their bytes are counted as they come.
        if in_head and self.head_since is not None and not self.finished:
            self.head_bytes += len(data)
            if self.head_bytes > MAX_URL_BYTES + MAX_HEADER_BYTES:
                self.refuse(HEADERS_TOO_LARGE)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.head_since = self.touched
        self.head_bytes = 0
        self.header_bytes = 0
        self.refusal = None

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        if len(self.url) > MAX_URL_BYTES:
            self._reject(URL_TOO_LONG)

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        self.header_bytes += len(name) + len(value)
        if self.header_bytes > MAX_HEADER_BYTES or len(self.headers) > MAX_HEADERS:
            self._reject(HEADERS_TOO_LARGE)

    def _reject(self, answer: Response) -> None:
        """Stops the parser, which then calls `send_400_response`."""
        self.refusal = answer
        raise ValueError(answer.status_code)

    def on_headers_complete(self) -> None:
        earlier = self.cycle
        super().on_headers_complete()
        self.head_since = None
        self.body_since, self.body_bytes = self.touched, 0
        if self.state.draining:
            if earlier is not None and earlier is self.closing_cycle and not earlier.response_started:
                earlier.keep_alive = True  # this request came before the close was announced: its answer is the last
            self.announce_close()

    def on_body(self, body: bytes) -> None:
        self.body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self.body_since = None
        super().on_message_complete()

    def on_response_complete(self) -> None:
        self.touched = self.loop.time()
        super().on_response_complete()
        if self.finished and not self.pipeline and self.cycle.response_complete:
            self.transport.close()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002
        self.refuse(self.refusal or MALFORMED)

    def refuse(self, answer: Response) -> None:
        """Answers an incomplete or invalid request, and closes the connection."""
        self.finished = True
        if self.transport.is_closing():
            return
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            if not cycle.more_body:
                # The fault comes after a complete request, whose own answer is still to come.
                self.announce_close()
                return
            cycle.disconnected = True
            cycle.message_event.set()
            if cycle.response_started:
                self.transport.abort()
                return
        self.pipeline.clear()
        status = HTTPStatus(answer.status_code)
        head = [b"HTTP/1.1 %d %s" % (status.value, status.phrase.encode())]
        head += [b"%s: %s" % field for field in (*self.state.default_headers, *answer.raw_headers)]
        self.transport.write(b"\r\n".join([*head, b"connection: close", b"", bytes(answer.body)]))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.flow.resume_reading()
        self.loop.call_later(LINGER_SECONDS, self.transport.close)

    def check_time(self, now: float) -> None:
        """Refuses a request that has not arrived in time."""
        if self.finished or self.transport.is_closing():
            return
        limits = self.state.limits
        if self.head_since is not None:
            if now - self.head_since > limits.header_seconds and self.answered:
                if self.silent:
                    self.transport.close()
                else:
                    self.refuse(HEADERS_TOO_SLOW)
        elif self.body_since is not None:
            if self.flow.read_paused or self.cycle.waiting_for_100_continue or len(self.cycle.body) > HIGH_WATER_LIMIT:
                self.body_since, self.body_bytes, self.touched = now, 0, now  # the client waits for us
                return
            due = self.body_since + limits.body_seconds + self.body_bytes / LEAST_BYTES_PER_SECOND
            if now > min(due, self.touched + limits.body_seconds):
                self.refuse(BODY_TOO_SLOW)

    @property
    def answered(self) -> bool:
        return (self.cycle is None or self.cycle.response_complete) and not self.pipeline

    def announce_close(self) -> None:
        """Adds `Connection: close` to the answer of the newest request, unless its headers are written already."""
        cycle = self.cycle
        if cycle is not None and cycle.keep_alive and not cycle.response_started:
            cycle.keep_alive = False
            self.closing_cycle = cycle

    def shutdown(self) -> None:
        """Begins to drain. uvicorn's method would close idle connections now, on which a request may be on its way."""
        self._unset_keepalive_if_required()
        self.touched = self.loop.time()
        self.announce_close()

    def close_if_idle(self, now: float) -> None:
        begun = self.head_since is not None and not self.silent
        if self.answered and not begun and self.body_since is None and now - self.touched > IDLE_SECONDS:
            self.transport.close()


async def _refuse_connection(scope: Any, receive: Any, send: Any) -> None:
    answer: ASGIApp = TOO_MANY_CONNECTIONS
    await answer(scope, receive, send)
