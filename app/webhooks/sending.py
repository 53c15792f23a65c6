"""Sends one request, to a checked address, within a time, and reads the beginning of the answer.

httpx has no place for our own connections, so this uses httpcore, which it is made of. httpcore reads no proxies from
the environment, follows no redirects and keeps no cookies.
"""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from ipaddress import ip_address
from queue import Empty, SimpleQueue
from typing import Any

import httpcore
import httpx

from app.errors import brief
from app.webhooks.addresses import WebhookTarget, reason_to_refuse

CONNECT_SECONDS, WHOLE_SECONDS = 5.0, 15.0
MOST_ANSWER_BYTES = 1024
MOST_TROUBLE = 500

#: Resolves a host name and a port: returns addresses.
Resolve = Callable[[str, int], Sequence[str]]


@dataclass(frozen=True)
class AttemptOutcome:
    """The end of an attempt.

    status       of the answer; None if there was none
    trouble      why there was none
    answer       the first kilobyte of the answer's body
    retry_after  seconds for which the receiver wants no further request
    """

    seconds: float
    status: int | None = None
    trouble: str | None = None
    answer: str | None = None
    retry_after: int = 0

    @property
    def succeeded(self) -> bool:
        return self.status is not None and 200 <= self.status < 300

    def without(self, secrets: Iterable[str]) -> "AttemptOutcome":
        """Returns the outcome with none of these texts in it, should the server have sent them back."""
        trouble, answer = self.trouble or "", self.answer or ""
        for secret in secrets:
            trouble, answer = trouble.replace(secret, "***"), answer.replace(secret, "***")
        return replace(self, trouble=trouble or None, answer=None if self.answer is None else answer)


class AddressRefused(Exception):
    """A name has an address that nothing may be sent to."""


def post(
    target: WebhookTarget,
    headers: Mapping[str, str],
    body: bytes,
    *,
    deadline: float,
    allow_private: bool,
    resolve: Resolve | None = None,
) -> AttemptOutcome:
    """Sends the body as JSON. Whatever goes wrong is the trouble of the outcome.

    deadline  of `time.monotonic()`, for everything from the resolution of the name to the last byte
    """
    began = time.monotonic()
    network = CheckedNetwork(resolve or resolved, deadline, allow_private=allow_private)
    url = httpcore.URL(scheme=target.scheme, host=target.host, port=target.port, target=target.path)
    sent = {
        "Host": target.authority,
        "Content-Type": "application/json",
        "Accept-Encoding": "identity",
        "User-Agent": "thumbwheel-webhooks",
        "Connection": "close",
        **headers,
    }
    status, trouble, answer, retry_after = None, None, b"", 0
    try:
        with (
            httpcore.ConnectionPool(ssl_context=_tls(), network_backend=network, retries=0) as pool,
            pool.stream("POST", url, headers=list(sent.items()), content=body) as response,
        ):
            status, retry_after = response.status, _retry_after(response.headers)
            answer = _beginning(response.iter_stream())
    except AddressRefused as error:
        trouble = str(error)
    except httpcore.TimeoutException:
        trouble = f"no answer within {CONNECT_SECONDS:g} s for the connection and {WHOLE_SECONDS:g} s in all"
    except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
        trouble = f"the request failed: {error or type(error).__name__}"
    seconds = time.monotonic() - began
    if status is None:
        return AttemptOutcome(seconds, trouble=brief(_storable(trouble or ""), MOST_TROUBLE))
    text = _storable(answer.decode(errors="replace"))[:MOST_ANSWER_BYTES]
    return AttemptOutcome(seconds, status, _trouble_of(status), text, retry_after)


def resolved(host: str, port: int) -> Sequence[str]:
    """Returns the addresses of a host, from the resolver of this machine. Raises `OSError`."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class CheckedNetwork(httpcore.NetworkBackend):
    """Connects to addresses that were checked just before, whatever the name resolves to afterwards.

    All addresses of a name have to be allowed: one with a public and a private address is refused.
    """

    def __init__(self, resolve: Resolve, deadline: float, *, allow_private: bool) -> None:
        self._resolve = resolve
        self._deadline = deadline
        self._allow_private = allow_private
        self._sockets = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002 - the deadline counts
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        until = min(time.monotonic() + CONNECT_SECONDS, self._deadline)
        failure: Exception = httpcore.ConnectError(f"{host} has no address")
        for address in self._checked(host, port, until):
            try:
                stream = self._sockets.connect_tcp(
                    address, port, _left(until, httpcore.ConnectTimeout), local_address, socket_options
                )
                return TimedStream(stream, self._deadline)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    def connect_unix_socket(self, path: str, *_: Any, **__: Any) -> httpcore.NetworkStream:
        raise AddressRefused(f"{path} is a socket of this machine")

    def _checked(self, host: str, port: int, until: float) -> Sequence[str]:
        addresses = _in_time(lambda: self._resolve(host, port), _left(until, httpcore.ConnectTimeout))
        for address in addresses:
            reason = reason_to_refuse(ip_address(address.partition("%")[0]), allow_private=self._allow_private)
            if reason is not None:
                raise AddressRefused(f"{host} has the address {address}, {reason}: nothing is sent there")
        return addresses


class TimedStream(httpcore.NetworkStream):
    """A connection whose reads and writes end at a deadline, however often a single byte arrives."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: float) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002 - the deadline counts
        return self._stream.read(max_bytes, _left(self._deadline, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002 - the deadline counts
        self._stream.write(buffer, _left(self._deadline, httpcore.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002 - the deadline counts
    ) -> httpcore.NetworkStream:
        seconds = _left(self._deadline, httpcore.ConnectTimeout)
        return TimedStream(self._stream.start_tls(ssl_context, server_hostname, seconds), self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _left(until: float, ended: type[httpcore.TimeoutException]) -> float:
    """Returns the seconds that are left; raises `ended` if there are none."""
    seconds = until - time.monotonic()
    if seconds <= 0:
        raise ended("the time is up")
    return seconds


def _in_time(call: Callable[[], Sequence[str]], seconds: float) -> Sequence[str]:
    """Returns the result of `call`, which runs in a thread: the resolver of the system has no time-out of its own."""
    results: SimpleQueue[Sequence[str] | Exception] = SimpleQueue()

    def work() -> None:
        try:
            results.put(call())
        except Exception as error:  # noqa: BLE001 - it is raised in the caller's thread
            results.put(error)

    threading.Thread(target=work, name="webhook-resolver", daemon=True).start()
    try:
        result = results.get(timeout=seconds)
    except Empty:
        raise httpcore.ConnectTimeout("the name was not resolved in time") from None
    if isinstance(result, Exception):
        raise result
    return result


@cache
def _tls() -> ssl.SSLContext:
    """Returns the certificates that httpx trusts, which are read once."""
    return httpx.create_ssl_context()


def _beginning(parts: Iterable[bytes]) -> bytes:
    """Returns the first kilobyte. An answer that stops coming after its status has still been given."""
    content = b""
    try:
        for part in parts:
            content += part
            if len(content) >= MOST_ANSWER_BYTES:
                break
    except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError):
        pass
    return content[:MOST_ANSWER_BYTES]


def _retry_after(headers: Sequence[tuple[bytes, bytes]]) -> int:
    """Returns the seconds of the header Retry-After; 0 without one, or if it has a date."""
    given = next((value for name, value in headers if name.lower() == b"retry-after"), b"")
    return int(given) if given.isdigit() and len(given) < 10 else 0


def _trouble_of(status: int) -> str | None:
    if 200 <= status < 300:
        return None
    if 300 <= status < 400:
        return f"HTTP {status}: redirects are not followed, so change the endpoint's URL"
    return f"HTTP {status}"


def _storable(text: str) -> str:
    """Returns the text without NUL and lone surrogates, which Postgres does not store."""
    return text.replace("\x00", "�").encode(errors="replace").decode()
