"""The times of a delivery's attempts. Pure.

The delays are those of Standard Webhooks, each after the attempt before: 5 seconds, 5 minutes, 30 minutes, 2, 5 and 10
hours. Where the table of the standard goes on to three days, the last attempt comes after 24 hours.
"""

from datetime import datetime, timedelta
from itertools import accumulate

GIVEN_UP_AFTER = timedelta(hours=24)
DELAYS = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
)
#: The times of the attempts after the first, since the beginning of the delivery.
OFFSETS = (*accumulate(DELAYS), GIVEN_UP_AFTER)
#: The share of a delay that chance may take off, so that the retries of many deliveries do not come at once.
JITTER = 0.1

#: The longest time for which an endpoint that fails is left alone.
LONGEST_REST = timedelta(minutes=5)
#: The longest time that a receiver may ask for by Retry-After.
LONGEST_RETRY_AFTER = timedelta(hours=1)


def next_attempt(began_at: datetime, now: datetime, chance: float) -> datetime | None:
    """Returns the time of the attempt after one that failed now, or None if none is left.

    Times that have passed, as while no worker ran, are skipped.

    chance  from 0 to 1, drawn at random
    """
    before = timedelta(0)
    for offset in OFFSETS:
        earliest = offset - JITTER * (offset - before)
        if began_at + earliest > now:
            return began_at + earliest + (offset - earliest) * chance
        before = offset
    return None


def rest(failures: int, retry_after: int = 0) -> timedelta:
    """Returns the time without attempts after this number of consecutive failures of an endpoint.

    retry_after  seconds that the receiver asked for
    """
    usual = min(timedelta(seconds=2 ** min(failures, 20)), LONGEST_REST)
    return max(usual, min(timedelta(seconds=min(retry_after, 86_400)), LONGEST_RETRY_AFTER))
