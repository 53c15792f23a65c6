"""What can go wrong with a call, and how long to wait before it is made again.

ClientError
├── ApiError     the API answered, and said no
├── Unreachable  nobody answered, after several tries
└── Damaged      a downloaded file is not the one that was registered
"""

from collections.abc import Iterator, Mapping
from typing import Any

import httpx

FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 5.0


class ClientError(Exception):
    """`message` is one sentence for people."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class ApiError(ClientError):
    """The API said no: `code` is stable, `problem` the whole answer (RFC 9457), with `errors` and `reasons`."""

    def __init__(self, status: int, code: str, message: str, problem: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.problem = problem


class Unreachable(ClientError):
    def __init__(self, url: str, cause: Exception) -> None:
        super().__init__(f"The API at {url} does not answer ({cause or type(cause).__name__}).")
        self.url = url


class Damaged(ClientError):
    pass


def pauses(tries: int) -> Iterator[tuple[bool, float]]:
    """For each try whether it is the last, and how many seconds to wait after it."""
    for number in range(tries):
        yield number == tries - 1, min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2**number)


def successful(response: httpx.Response) -> httpx.Response:
    if response.is_success:
        return response
    try:
        problem = response.json()
        raise ApiError(response.status_code, problem["code"], problem["detail"], problem)
    except (ValueError, KeyError, TypeError):
        # Not our API's words: a proxy's, or another server on that port.
        message = f"{response.request.url} answered {response.status_code} {response.reason_phrase}."
        raise ApiError(response.status_code, f"http_{response.status_code}", message, {}) from None
