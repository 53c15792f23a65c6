"""`Retries`: the loop of attempts of a call, made by tenacity with the rules of `retry_rules`."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import httpx
from tenacity import Retrying, retry_if_exception, stop_after_attempt, stop_before_delay

from thumbwheel.client.retry_rules import WorthRepeating, pause
from thumbwheel.errors import ApiError, Unreachable

Result = TypeVar("Result")


@dataclass(frozen=True)
class Retries:
    """The limits of a call: its attempts and their total time.

    attempts  attempts of one call, including the first
    seconds   time after the first attempt in which another one may begin
    sleep     waits between two attempts
    """

    attempts: int
    seconds: float
    sleep: Callable[[float], None] = time.sleep

    def call(self, url: str, attempt: Callable[[], Result], worth_repeating: WorthRepeating) -> Result:
        """Returns the result of the first attempt that succeeds.

        Raises the last attempt's `ApiError`, or `Unreachable` after a broken connection. Their messages name the
        number of attempts and their total time.
        """
        retrying = Retrying(
            retry=retry_if_exception(worth_repeating),
            stop=stop_after_attempt(self.attempts) | stop_before_delay(self.seconds),
            wait=pause,
            sleep=self.sleep,
            reraise=True,
        )
        started = time.monotonic()
        try:
            return retrying(attempt)
        except httpx.TransportError as error:
            raise Unreachable(url, error, _attempts(retrying), time.monotonic() - started) from error
        except ApiError as error:
            if worth_repeating(error):
                error.gave_up(_attempts(retrying), time.monotonic() - started)
            raise


def _attempts(retrying: Retrying) -> int:
    return int(retrying.statistics["attempt_number"])
