# Written by tools/async_client.py from ../client/retries.py: change that file, then run `make async-client`.
"""`AsyncRetries`: the loop of attempts of a call, made by tenacity with the rules of `retry_rules`."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import httpx
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, stop_before_delay

from thumbwheel.client.retry_rules import WorthRepeating, pause
from thumbwheel.errors import ApiError, Unreachable

Result = TypeVar("Result")


@dataclass(frozen=True)
class AsyncRetries:
    """The limits of a call: its attempts and their total time.

    attempts  attempts of one call, including the first
    seconds   time after the first attempt in which another one may begin
    sleep     waits between two attempts
    """

    attempts: int
    seconds: float
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    async def call(self, url: str, attempt: Callable[[], Awaitable[Result]], worth_repeating: WorthRepeating) -> Result:
        """Returns the result of the first attempt that succeeds.

        Raises the last attempt's `ApiError`, or `Unreachable` after a broken connection. Their messages name the
        number of attempts and their total time.
        """
        retrying = AsyncRetrying(
            retry=retry_if_exception(worth_repeating),
            stop=stop_after_attempt(self.attempts) | stop_before_delay(self.seconds),
            wait=pause,
            sleep=self.sleep,
            reraise=True,
        )
        started = time.monotonic()
        try:
            return await retrying(attempt)
        except httpx.TransportError as error:
            raise Unreachable(url, error, _attempts(retrying), time.monotonic() - started) from error
        except ApiError as error:
            if worth_repeating(error):
                error.gave_up(_attempts(retrying), time.monotonic() - started)
            raise


def _attempts(retrying: AsyncRetrying) -> int:
    return int(retrying.statistics["attempt_number"])
