"""HTTP requests that end in time, whatever the server does, and at once when they are closed.

A socket that a thread reads can neither be given a time for a whole answer nor be closed by another thread: a server
that sends a byte now and then would hold the thread for ever. An event loop in a thread of its own can cancel a request
at any moment. Callers in any thread wait for it.
"""

import asyncio
import threading
from collections.abc import Coroutine, Mapping
from concurrent.futures import CancelledError
from contextlib import suppress
from typing import Any, TypeVar

import httpx

Result = TypeVar("Result")

#: Seconds for which open connections may take to close.
CLOSING_SECONDS = 5


class AnswerTooLarge(Exception):
    """The answer has more bytes than allowed; it was not read to its end."""


class RequestsClosed(Exception):
    """The requests were closed while, or before, this one was under way."""


class BoundedRequests:
    """Sends requests with the same headers.

    seconds          of a request as a whole, from the connection to the last byte of the answer
    most_bytes       of an answer
    connect_seconds  of a connection; None: as of a request
    """

    def __init__(
        self, headers: Mapping[str, str], *, seconds: float, most_bytes: int, connect_seconds: float | None = None
    ) -> None:
        self._seconds = seconds
        self._connect_seconds = seconds if connect_seconds is None else connect_seconds
        self._most_bytes = most_bytes
        self._loop = asyncio.new_event_loop()
        self._client = httpx.AsyncClient(
            headers=dict(headers), timeout=seconds, limits=httpx.Limits(max_connections=None)
        )
        self._closed = False
        self._thread = threading.Thread(target=self._loop.run_forever, name="requests", daemon=True)
        self._thread.start()

    def post(self, url: str, body: Any, seconds: float | None = None) -> httpx.Response:
        """Returns the whole answer. Raises `httpx.HTTPError`, `AnswerTooLarge` and `RequestsClosed`.

        seconds  of this request; None: as of the others
        """
        return self._wait(self._request("POST", url, body, seconds or self._seconds))

    def get(self, url: str) -> httpx.Response:
        """Returns the whole answer. Raises as `post` does."""
        return self._wait(self._request("GET", url, None, self._seconds))

    def close(self) -> None:
        """Ends all requests that are under way and closes all connections."""
        if self._closed:
            return
        self._closed = True
        with suppress(TimeoutError, CancelledError):
            asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(CLOSING_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CLOSING_SECONDS)
        if not self._thread.is_alive():
            self._loop.close()

    def _wait(self, request: Coroutine[Any, Any, Result]) -> Result:
        if self._closed:
            request.close()
            raise RequestsClosed
        try:
            return asyncio.run_coroutine_threadsafe(request, self._loop).result()
        except CancelledError:
            raise RequestsClosed from None

    async def _request(self, method: str, url: str, body: Any, seconds: float) -> httpx.Response:
        content = bytearray()
        timeout = httpx.Timeout(seconds, connect=min(self._connect_seconds, seconds))
        try:
            async with (
                asyncio.timeout(seconds),
                self._client.stream(method, url, json=body, timeout=timeout) as response,
            ):
                async for part in response.aiter_bytes():
                    content += part
                    if len(content) > self._most_bytes:
                        raise AnswerTooLarge
        except TimeoutError:
            raise httpx.ReadTimeout(f"no whole answer within {seconds:g} s") from None
        headers = {name: value for name, value in response.headers.items() if name in ("retry-after", "date")}
        return httpx.Response(response.status_code, headers=headers, content=bytes(content), request=response.request)

    async def _end(self) -> None:
        under_way = asyncio.all_tasks() - {asyncio.current_task()}
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
        await self._client.aclose()
