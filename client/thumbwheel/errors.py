"""Errors of the client.

ClientError
├── ApiError      the API refused the call
├── Unreachable   no complete answer arrived, after several attempts
├── Damaged       a downloaded file is not the registered one
├── QueueFull     a feedback queue that raises errors has no room
└── NotDelivered  a feedback queue that raises errors could not deliver an item
"""

import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import httpx


class ClientError(Exception):
    """The base of all errors of the client; `message` is a text for people."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class ApiError(ClientError):
    """The API refused the call. `code` is stable; `problem` is the whole answer (RFC 9457).

    retry_after  seconds to wait according to the answer, or None
    attempts     number of attempts
    """

    def __init__(
        self, status: int, code: str, message: str, problem: Mapping[str, Any], retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.problem = problem
        self.retry_after = retry_after
        self.attempts = 1

    def gave_up(self, attempts: int, seconds: float) -> None:
        """Adds to the message how often and for how long the call was tried."""
        self.attempts = attempts
        self.message += f" {_tried(attempts, seconds)}"
        if self.retry_after is not None:
            self.message += f" The server asks to wait {self.retry_after:.0f} s."
        self.args = (self.message,)


class Unreachable(ClientError):
    """No complete answer arrived: the connection was refused, broken or silent."""

    def __init__(self, url: str, cause: Exception, attempts: int = 1, seconds: float = 0.0) -> None:
        reason = str(cause) or type(cause).__name__
        super().__init__(f"The API at {url} does not answer ({reason}). {_tried(attempts, seconds)}")
        self.url = url
        self.attempts = attempts


class Damaged(ClientError):
    """A downloaded file is not the registered one."""


class QueueFull(ClientError):
    """A feedback queue has no room. Raised only by a queue with `raise_errors`."""


class NotDelivered(ClientError):
    """The API refused an item, or did not get it in time. Raised only by a queue with `raise_errors`."""


def successful(response: httpx.Response) -> httpx.Response:
    """Returns the response if it is a success. Raises `ApiError`."""
    if response.is_success:
        return response
    retry_after = retry_after_seconds(response.headers)
    try:
        problem = response.json()
        raise ApiError(response.status_code, problem["code"], problem["detail"], problem, retry_after)
    except (ValueError, KeyError, TypeError):
        # The answer is not from the API but from a proxy or another server on that port.
        message = f"{response.request.url} answered {response.status_code} {response.reason_phrase}."
        raise ApiError(response.status_code, f"http_{response.status_code}", message, {}, retry_after) from None


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """Returns the seconds in `Retry-After`; an HTTP date counts from the server's own clock (`Date`)."""
    value = headers.get("Retry-After", "").strip()
    if value.isdecimal() and value.isascii():
        return float(value)
    wanted = _timestamp(value)
    if wanted is None:
        return None
    now = _timestamp(headers.get("Date", ""))
    return max(0.0, wanted - (time.time() if now is None else now))


def _timestamp(date: str) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp()
    except (ValueError, OverflowError, IndexError, TypeError):
        return None


def _tried(attempts: int, seconds: float) -> str:
    times = "once" if attempts == 1 else f"{attempts} times"
    return f"Tried {times} in {seconds:.1f} s."
