"""The rules of retries: which failures are worth another attempt, and how long to wait before it. Pure.

- A call that is safe to repeat is repeated after a broken connection, after 408 and 429, and after every 5xx.
- A call that is not is repeated only where the request cannot have reached the API: no connection was made.
- The wait doubles from attempt to attempt, up to a few seconds, with jitter: clients that failed together do not retry
  together. `Retry-After` is added to it. A wait that would exceed the total time ends the call at once.
"""

import random
from collections.abc import Callable

import httpx
from tenacity import RetryCallState, wait_exponential

from thumbwheel.errors import ApiError

FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 5.0
#: The longest `Retry-After` that is waited for: a faulty proxy may ask for more seconds than a clock can count.
LONGEST_RETRY_AFTER_SECONDS = 3600.0

#: Statuses besides 5xx that say nothing about the request itself: it took too long to arrive, or came too early.
TRANSIENT_STATUSES = frozenset({408, 429})

#: Decides whether a failed attempt is worth another one.
WorthRepeating = Callable[[BaseException], bool]

_backoff = wait_exponential(multiplier=FIRST_PAUSE_SECONDS, max=LONGEST_PAUSE_SECONDS)


def if_safe(error: BaseException) -> bool:
    """The rule for calls that are safe to repeat."""
    if isinstance(error, ApiError):
        return error.status >= 500 or error.status in TRANSIENT_STATUSES
    return isinstance(error, httpx.TransportError) and not isinstance(
        error, httpx.UnsupportedProtocol | httpx.LocalProtocolError
    )


def if_safe_once(error: BaseException) -> bool:
    """The rule for calls with an Idempotency-Key: the answer may come from an earlier attempt that is still running."""
    return if_safe(error) or (isinstance(error, ApiError) and (error.status, error.code) == (409, "request_in_flight"))


def if_never_sent(error: BaseException) -> bool:
    """The rule for all other calls: no connection was made, so nothing was carried out."""
    return isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)


def first_pause() -> float:
    """Returns the seconds to wait before a broken stream is opened again."""
    return _jittered(FIRST_PAUSE_SECONDS)


def pause(state: RetryCallState) -> float:
    """Returns the seconds to wait before the next attempt."""
    error = state.outcome.exception() if state.outcome is not None else None
    requested = error.retry_after if isinstance(error, ApiError) else None
    return min(requested or 0.0, LONGEST_RETRY_AFTER_SECONDS) + _jittered(_backoff(state))


def _jittered(seconds: float) -> float:
    return seconds * random.uniform(0.5, 1.0)
