"""Records the progress of an expired month, what was deleted of it, and what its deletion waits for."""

import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy.orm import Session
from thumbwheel import wire

from app import messages, outbox, postgres_errors
from app.database import now
from app.errors import ThumbwheelError
from app.feedback.expiry import service as expiry
from app.privacy.retention.tables import ExpiredMonth
from app.projects import service as projects

log = logging.getLogger(__name__)

#: After this time without a step, the tick sends the message again.
PATIENCE = timedelta(minutes=1)
#: What waits for the end of a run or of a hold is looked at again after this time.
WAITING = timedelta(minutes=10)
LONGEST_PAUSE = timedelta(minutes=5)
#: Attempts after which the log of the worker has an error, for alerts; there are further ones.
MANY_ATTEMPTS = 10
#: Ids in one transaction.
AT_ONCE = 10_000
#: The certificate of a month of which nothing is deleted yet.
NOTHING: dict[str, Any] = {
    "events": 0, "completions": 0, "edit_comparisons": 0, "audit_items": 0, "suspicions": 0, "dropped": False,
    "snapshots": [], "held": [],
}  # fmt: skip


def ring(session: Session, row: ExpiredMonth) -> None:
    """Sends a message for the next part."""
    row.next_attempt_at = now() + PATIENCE
    outbox.put(session, messages.EXPIRE_MONTH, record_id=row.id)


def wait(row: ExpiredMonth, why: str) -> None:
    """Records what the month waits for, and when it is looked at again."""
    row.trouble, row.next_attempt_at = why, now() + WAITING


def certify(row: ExpiredMonth, **more: Any) -> None:
    """Sets entries of the certificate."""
    row.certificate = {**row.certificate, **more}


def count(row: ExpiredMonth, **more: int) -> None:
    """Adds to the counts of the certificate."""
    certify(row, **{name: row.certificate[name] + number for name, number in more.items()})


def counts(row: ExpiredMonth) -> dict[str, Any]:
    """Returns the counts of the certificate."""
    return {name: row.certificate[name] for name in NOTHING if name not in ("snapshots", "held")}


def go_on(row: ExpiredMonth, part: Sequence[int] | Sequence[str], following: str) -> None:
    """Advances past this part, or to the following step after the last part."""
    row.step, row.place = (following, "") if len(part) < AT_ONCE else (row.step, str(part[-1]))


def keep_failure(row: ExpiredMonth, error: Exception) -> None:
    """Records why a part failed, and the time of the next attempt."""
    if isinstance(error, ThumbwheelError):
        row.trouble = error.message
    else:
        row.trouble = f"Step {row.step}: {postgres_errors.without_values(error)}."
    row.attempts += 1
    row.next_attempt_at = now() + min(timedelta(seconds=2 ** min(row.attempts, 10)), LONGEST_PAUSE)
    if row.attempts == MANY_ATTEMPTS:
        log.error(
            "retention_failed: month %s of project %s, step %s: %s It is tried again.",
            row.month, row.project_id, row.step, row.trouble, exc_info=error,
        )  # fmt: skip
    else:
        log.warning("month %s of project %s: trying again: %s", row.month, row.project_id, row.trouble)


def is_expired(session: Session, row: ExpiredMonth) -> bool:
    """Returns whether the project's rule of today still lets the month go: an operator may have changed it."""
    months = projects.get(session, row.project_id).retention.months
    return months is not None and expiry.month_named(row.month).end <= expiry.keeps_from(months)


def shown(row: ExpiredMonth) -> wire.ExpiredMonth:
    """Returns the record for callers."""
    names = ("id", "month", "rules", "state", "step", "began_at", "finished_at", "trouble")
    return wire.ExpiredMonth.model_validate(
        {**row.certificate, **{name: getattr(row, name) for name in names}, "project": row.project_id}
    )
