"""Decides what an error does to an erasure: it waits, tries again, or has failed."""

import logging
from datetime import timedelta

from app import postgres_errors
from app.database import now
from app.errors import ThumbwheelError, Unavailable
from app.privacy.erasures.tables import Erasure

log = logging.getLogger(__name__)

#: Attempts at a step that ends with a permanent error. At least `IN_A_ROW` of them are consecutive: an outage before
#: them uses up none of these.
MOST_ATTEMPTS, IN_A_ROW = 10, 3
LONGEST_PAUSE = timedelta(minutes=5)
REMEDY = (
    "The cause does not pass by itself: see the worker's log, repair it, then send the same request again "
    "(`thumbwheel actors erase`); the erasure continues where it stopped."
)


def keep_failure(row: Erasure, error: Exception) -> None:
    """Records the error, and the time of the next attempt or that the erasure has failed.

    A finished erasure stays done: a vacuum that fails is tried again for ever.
    """
    erased = row.state == "done"
    step = "vacuum" if erased else row.step
    row.trouble = _cause(error, step)
    row.attempts += 1
    if _passes(error) and not erased:
        row.attempts = min(row.attempts, MOST_ATTEMPTS - IN_A_ROW)
    row.next_attempt_at = now() + min(timedelta(seconds=2 ** min(row.attempts, 10)), LONGEST_PAUSE)
    if not erased:
        row.started_at = row.started_at or now()
        row.state = "failed" if row.attempts >= MOST_ATTEMPTS else "running"
    if row.state == "failed" or (erased and row.attempts == MOST_ATTEMPTS):
        log.error(
            "%s: erasure %s of project %s, step %s: %s %s", "vacuum_failed" if erased else "erasure_failed", row.id,
            row.project_id, step, row.trouble, "It is tried again." if erased else REMEDY, exc_info=error,
        )  # fmt: skip
    else:
        log.warning("erasure %s, step %s: trying again: %s", row.id, step, row.trouble)


def _passes(error: Exception) -> bool:
    """Returns whether the error may pass without a repair: a server does not answer, is busy or is full."""
    return isinstance(error, Unavailable | OSError) or postgres_errors.passing(error) is not None


def _cause(error: Exception, step: str) -> str:
    """Returns a sentence about the error that quotes no erased data."""
    if isinstance(error, ThumbwheelError):
        return error.message
    return f"Step {step}: {postgres_errors.without_values(error)}."
