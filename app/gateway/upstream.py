"""HTTP with the servers of targets: one pool of connections, every wait bounded, nothing buffered.

UpstreamError
├── TargetFailed   before the first byte of an answer: another target may be tried
└── AnswerCut      after it: the answer is not whole
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from types import TracebackType
from typing import Self

import aiohttp

from app.gateway.routes import Route

CONNECT_SECONDS = 2.0
#: Idle connections are closed before servers close them: uvicorn, which vLLM and SGLang run on, does so after 5 s.
KEEP_ALIVE_SECONDS = 3.0
MOST_ANSWER_BYTES = 32 * 2**20
MOST_REFUSAL_BYTES = 64 * 2**10
#: The target is away, starts, or is too busy; 404: it has forgotten the model, as after a restart.
NOT_READY = frozenset({404, 408, 425, 429, 500, 502, 503, 504})
#: The target does not take the key that this process has for it, which is no fault of the caller.
KEY_REFUSED = frozenset({401, 403, 407})


class UpstreamError(Exception):
    """The text is a clause: "it did not answer within 2 s"."""


class TargetFailed(UpstreamError):
    """status  what the target answered, None if nothing"""

    def __init__(self, reason: str, status: int | None = None) -> None:
        super().__init__(reason)
        self.status = status


class AnswerCut(UpstreamError):
    pass


class UpstreamAnswer:
    """An answer that has begun. Leave it by `close`: then the target stops to write."""

    def __init__(self, response: aiohttp.ClientResponse, first: bytes, idle_seconds: float) -> None:
        self.status = response.status
        self.streamed = response.content_type == "text/event-stream"
        self._response = response
        self._first = first
        self._idle_seconds = idle_seconds

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yields the bytes as they arrive. Raises `AnswerCut`."""
        if self._first:
            yield self._first
        try:
            while received := await self._next():
                yield received
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise AnswerCut(_reason(error)) from error

    async def _next(self) -> bytes:
        async with asyncio.timeout(self._idle_seconds):
            return await self._response.content.readany()

    async def whole(self, most: int = MOST_ANSWER_BYTES) -> bytes:
        """Returns the whole answer. Raises `AnswerCut`, also for one that is too large."""
        parts, size = [], 0
        async for part in self.chunks():
            parts.append(part)
            size += len(part)
            if size > most:
                raise AnswerCut(f"it answered more than {most // 2**20} MiB")
        return b"".join(parts)

    def close(self) -> None:
        """Ends the answer; a connection on which it was not whole is closed."""
        self._response.close()

    def finish(self) -> None:
        """Gives the connection back after the last byte."""
        self._response.release()


class Upstream:
    """The connections to all targets.

    first_byte_seconds  the longest wait for the first byte of a streamed answer
    answer_seconds      the longest wait for one that is not streamed: it begins when all is written
    idle_seconds        the longest pause within an answer
    """

    def __init__(self, *, first_byte_seconds: float, answer_seconds: float, idle_seconds: float) -> None:
        self._first_byte_seconds = first_byte_seconds
        self._answer_seconds = answer_seconds
        self._idle_seconds = idle_seconds

    async def __aenter__(self) -> Self:
        self._pooled = _session(aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_SECONDS))
        self._fresh = _session(aiohttp.TCPConnector(limit=0, force_close=True))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._pooled.close()
        await self._fresh.close()

    async def send(self, route: Route, path: str, body: bytes, *, streamed: bool) -> UpstreamAnswer:
        """Sends a request and returns its answer once the first byte of the body is there. Raises `TargetFailed`."""
        seconds = self._first_byte_seconds if streamed else self._answer_seconds
        try:
            return await self._send(self._pooled, route, path, body, seconds)
        except _ConnectionLost:
            # A server may close a connection of the pool at this moment: a new one shows whether it is really away.
            try:
                return await self._send(self._fresh, route, path, body, seconds)
            except _ConnectionLost as error:
                raise TargetFailed("it closes the connection without an answer") from error

    async def _send(
        self, session: aiohttp.ClientSession, route: Route, path: str, body: bytes, seconds: float
    ) -> UpstreamAnswer:
        headers = {"Content-Type": "application/json"}
        if route.key is not None:
            headers["Authorization"] = f"Bearer {route.key}"
        url = f"{route.url}{path.removeprefix('/v1')}"
        response: aiohttp.ClientResponse | None = None
        try:
            async with asyncio.timeout(seconds):
                response = await session.post(url, data=body, headers=headers, allow_redirects=False)
                first = await response.content.readany()
        except aiohttp.ConnectionTimeoutError:
            raise TargetFailed("it cannot be reached") from None
        except TimeoutError:
            _close(response)
            raise TargetFailed(f"it did not answer within {seconds:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            _close(response)
            lost = isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError)
            if lost and not isinstance(error, aiohttp.ClientConnectorError):
                raise _ConnectionLost from error
            raise TargetFailed(_reason(error)) from error
        except BaseException:
            _close(response)
            raise
        _require_usable(response, first)
        return UpstreamAnswer(response, first, self._idle_seconds)


class _ConnectionLost(Exception):
    """The connection was there and broke before the answer began."""


def _session(connector: aiohttp.TCPConnector) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=None),
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=("Accept-Encoding", "User-Agent"),
        headers={"Accept-Encoding": "identity", "User-Agent": "thumbwheel-gateway"},
    )


def _require_usable(response: aiohttp.ClientResponse, first: bytes) -> None:
    status = response.status
    if status in KEY_REFUSED:
        reason = "it refuses the key that the gateway has for it: check the variable that its key_env names"
    elif status in NOT_READY:
        reason = f"it answered {status}"
    elif 300 <= status < 400:
        reason = f"it answered {status}, a redirect: set url to the server itself"
    elif response.headers.get("Content-Encoding", "identity") != "identity":
        reason = "it compressed the answer, although the request forbids it"
    elif status == 200 and not first:
        reason = "it answered nothing"
    elif status != 200 and not 400 <= status < 600:
        reason = f"it answered {status}, which is neither an answer nor a refusal"
    else:
        return
    _close(response)
    raise TargetFailed(reason, status)


def _close(response: aiohttp.ClientResponse | None) -> None:
    if response is not None:
        with suppress(aiohttp.ClientError, OSError):
            response.close()


def _reason(error: BaseException) -> str:
    """Returns a clause without the address, which names a server of the operator."""
    if isinstance(error, TimeoutError):
        return "it stopped answering"
    if isinstance(error, aiohttp.ClientConnectorError):
        return "it cannot be reached"
    return f"the connection broke ({type(error).__name__})"
