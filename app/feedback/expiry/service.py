"""Deletes feedback by the month of its receipt: whole partitions where it can, rows where it must.

Ids of events outlive their events, so that a retry stores nothing again.
"""

import re
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from sqlalchemy.orm import Session

from app.database import now
from app.feedback import service as feedback
from app.feedback.expiry import store
from app.feedback.expiry.store import Deleted

#: Counts for a preview go up to this number: no request reads a whole log.
MOST_COUNTED = 1_000_000
_NAME = re.compile(r"events_(\d{4})_(\d{2})")


class Month(NamedTuple):
    """A calendar month in UTC, from `start` until before `end`."""

    start: datetime
    end: datetime

    @property
    def name(self) -> str:
        return f"{self.start:%Y-%m}"

    @property
    def partition(self) -> str:
        return f"events_{self.start:%Y_%m}"


def month_of(time: datetime) -> Month:
    """Returns the month of a time."""
    return Month(*feedback.month_of(time))


def month_named(name: str) -> Month:
    """Returns the month with a name such as 2025-10."""
    year, month = map(int, name.split("-"))
    return month_of(datetime(year, month, 1, tzinfo=UTC))


def keeps_from(months: int, at: datetime | None = None) -> datetime:
    """Returns the first moment that is kept: the start of the month that lies `months` before the current one."""
    start = month_of(at or now()).start
    years, month = divmod(start.year * 12 + start.month - 1 - months, 12)
    return start.replace(year=years, month=month + 1) if years >= 1 else datetime(1, 1, 1, tzinfo=UTC)


def months_with(session: Session, project: str, before: datetime) -> list[Month]:
    """Returns the months before this time of which the log has events of the project, oldest first."""
    found = {
        month.start: month
        for month in _partitioned(session)
        if month.end <= before and store.has_rows(session, month.partition, project)
    }
    found |= {start: month_of(start) for start in store.months_in_default(session, project, before)}
    return [found[start] for start in sorted(found)]


def has_partition(session: Session, month: Month) -> bool:
    """Returns whether the month has a partition of its own."""
    return month in _partitioned(session)


def projects_in(session: Session, month: Month) -> list[str]:
    """Returns the projects with events in the month's partition."""
    return list(store.projects_in(session, month.partition))


def count(session: Session, project: str, month: Month) -> int:
    """Returns the number of events of the month, up to `MOST_COUNTED`."""
    return store.count_up_to(session, project, month.start, month.end, MOST_COUNTED)


def has_free(session: Session, project: str, month: Month, held: Collection[str]) -> bool:
    """Returns whether the month has events about none of the held completions."""
    return store.any_free(session, project, month.start, month.end, held)


def is_touched(session: Session, project: str, month: Month, held: Collection[str]) -> bool:
    """Returns whether the month's partition has events about held completions."""
    return bool(held) and store.has_any_about(session, month.partition, project, held)


def count_by_project(session: Session, month: Month) -> dict[str, int]:
    """Returns the number of events in the month's partition by project."""
    return store.count_by_project(session, month.partition)


def drop(session: Session, month: Month, expected: Collection[str]) -> bool:
    """Drops the month's partition, unless projects other than the expected ones have got events there meanwhile.

    It does not detach it first: Postgres detaches concurrently only without a default partition. The lock is held for
    the drop alone, which takes milliseconds whatever the size; while readers hold the log, writers wait for a moment,
    then the transaction fails with an error that passes.
    """
    store.lock_log(session)
    if not set(store.projects_in(session, month.partition)) <= set(expected):
        return False
    store.drop(session, month.partition)
    return True


def delete_part(
    session: Session, project: str, month: Month, *, held: Collection[str], after: int, limit: int
) -> Deleted:
    """Deletes up to `limit` events of the month after a position, except those about held completions."""
    return store.delete_part(session, project, month.start, month.end, held=held, after=after, limit=limit)


def old_completions(
    session: Session, project: str, before: datetime, *, after: int, limit: int
) -> Sequence[tuple[str, int]]:
    """Returns id and position of completions that were registered before this time, in the order of the log."""
    return store.old_completions(session, project, before, after=after, limit=limit)


def count_old_completions(session: Session, project: str, before: datetime) -> int:
    """Returns the number of completions that were registered before this time, up to `MOST_COUNTED`."""
    return store.count_old_completions(session, project, before, MOST_COUNTED)


def unheard_of(session: Session, project: str, completion_ids: Collection[str]) -> set[str]:
    """Returns those of the completions that no event is about and no preference rejected."""
    without = store.without_own_event(session, project, completion_ids) if completion_ids else []
    return set(without) - store.rejected_ones(session, project, without) if without else set()


def judged_by(session: Session, project: str, actors: Collection[str]) -> set[str]:
    """Returns the completions that events of these actors are about; a preference is about two."""
    return set(store.judged_by(session, project, actors)) if actors else set()


def without_event(session: Session, project: str, positions: Collection[int]) -> list[int]:
    """Returns those of the positions at which the log has no event."""
    return store.without_event_at(session, project, positions) if positions else []


def knows_completion(session: Session, project: str, completion_id: str) -> bool:
    """Returns whether the completion is registered or an event is about it."""
    return store.anything_about(session, project, completion_id)


def knows_actor(session: Session, project: str, actor: str) -> bool:
    """Returns whether the log has an event of the actor."""
    return store.anything_of(session, project, actor)


def _partitioned(session: Session) -> list[Month]:
    names = map(_NAME.fullmatch, store.partitions(session))
    return [month_of(datetime(int(name[1]), int(name[2]), 1, tzinfo=UTC)) for name in names if name]
