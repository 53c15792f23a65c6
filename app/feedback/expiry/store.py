"""SQL that finds and deletes feedback by the month of its receipt, and drops partitions of the log."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.orm import Session

from app.feedback.reading.not_preferred import ID_SQL

#: Writers wait no longer than this while a partition waits for readers of the log; then it is tried again later.
LOCK_MILLISECONDS = 300


class Deleted(NamedTuple):
    """Rows that were deleted: their number, and the position of the last one (None: there was none)."""

    rows: int
    last: int | None


_PARTITIONS = text("""
    SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
    WHERE inhparent = to_regclass('events') ORDER BY relname
""")

_EARLIEST_WITHOUT_MONTH = text("""
    SELECT DISTINCT date_trunc('month', received_at, 'UTC') FROM events_other
    WHERE project_id = :project AND received_at < :before
""")

#: Of an event whose signal is a preference; null for any other.
_REJECTED = f"CASE WHEN signal ->> 'kind' = 'preference' THEN {ID_SQL} END"
#: Whether an event is about none of the held completions.
_FREE = f"completion_id <> ALL(CAST(:held AS text[])) AND coalesce({_REJECTED}, '') <> ALL(CAST(:held AS text[]))"
_HERE = "events.project_id = :project AND events.received_at >= :start AND events.received_at < :end"

_ANY_FREE = text(f"SELECT EXISTS (SELECT FROM events WHERE {_HERE} AND {_FREE})")  # noqa: S608 - made of constants

_DELETE = text(f"""
    WITH part AS MATERIALIZED (
        SELECT position, received_at FROM events
        WHERE {_HERE} AND position > :after AND {_FREE} ORDER BY position LIMIT :limit
    ), gone AS (
        DELETE FROM events USING part
        WHERE {_HERE} AND (events.position, events.received_at) = (part.position, part.received_at)
        RETURNING events.position
    )
    SELECT count(*) AS rows, max(position) AS last FROM gone
""")  # noqa: S608 - made of constants

_OLD_COMPLETIONS = text("""
    SELECT completion_id, position FROM completions
    WHERE project_id = :project AND position > :after AND received_at < :before ORDER BY position LIMIT :limit
""")

_COUNT_OLD_COMPLETIONS = text("""
    SELECT count(*) FROM (
        SELECT FROM completions WHERE project_id = :project AND received_at < :before LIMIT :limit) AS counted
""")

_WITHOUT_OWN_EVENT = text("""
    SELECT id FROM unnest(CAST(:ids AS text[])) AS id
    WHERE NOT EXISTS (SELECT FROM events WHERE project_id = :project AND completion_id = id COLLATE "C")
""")

_REJECTED_ONES = text(f"""
    SELECT DISTINCT {ID_SQL} FROM events
    WHERE project_id = :project AND signal ->> 'kind' = 'preference' AND {ID_SQL} = ANY(:ids)
""")  # noqa: S608 - made of constants

_JUDGED_BY = text(f"""
    SELECT completion_id FROM events WHERE project_id = :project AND actor = ANY(:actors)
    UNION
    SELECT {ID_SQL} FROM events
    WHERE project_id = :project AND actor = ANY(:actors) AND signal ->> 'kind' = 'preference'
""")  # noqa: S608 - made of constants

_WITHOUT_EVENT_AT = text("""
    SELECT at FROM unnest(CAST(:positions AS bigint[])) AS at
    WHERE NOT EXISTS (SELECT FROM events WHERE project_id = :project AND position = at)
""")

_ANYTHING_ABOUT = text("""
    SELECT EXISTS (SELECT FROM events WHERE project_id = :project AND completion_id = :id)
        OR EXISTS (SELECT FROM completions WHERE project_id = :project AND completion_id = :id)
""")

_ANYTHING_OF = text("SELECT EXISTS (SELECT FROM events WHERE project_id = :project AND actor = :actor)")

#: A loose scan of the index: one step for each project, whatever the number of rows.
_PROJECTS = """
    WITH RECURSIVE found AS (
        (SELECT project_id FROM {name} ORDER BY project_id LIMIT 1)
        UNION ALL
        SELECT (SELECT project_id FROM {name} WHERE project_id > found.project_id ORDER BY project_id LIMIT 1)
        FROM found WHERE found.project_id IS NOT NULL)
    SELECT project_id FROM found WHERE project_id IS NOT NULL
"""


def partitions(session: Session) -> Sequence[str]:
    """Returns the names of the log's partitions."""
    return session.scalars(_PARTITIONS).all()


def months_in_default(session: Session, project: str, before: datetime) -> Sequence[datetime]:
    """Returns the months before this time of which the default partition has events."""
    return session.scalars(_EARLIEST_WITHOUT_MONTH, {"project": project, "before": before}).all()


def has_rows(session: Session, partition: str, project: str) -> bool:
    query = text(f"SELECT EXISTS (SELECT FROM {partition} WHERE project_id = :project)")  # noqa: S608 - our own names
    return bool(session.execute(query, {"project": project}).scalar_one())


def projects_in(session: Session, partition: str) -> Sequence[str]:
    """Returns the projects that have events in the partition."""
    return session.scalars(text(_PROJECTS.format(name=partition))).all()


def count_by_project(session: Session, partition: str) -> dict[str, int]:
    query = text(f"SELECT project_id, count(*) FROM {partition} GROUP BY project_id")  # noqa: S608 - our own names
    return dict(session.execute(query).tuples().all())


def count_up_to(session: Session, project: str, start: datetime, end: datetime, limit: int) -> int:
    """Returns the number of events received in this time, `limit` at most."""
    query = text(f"SELECT count(*) FROM (SELECT FROM events WHERE {_HERE} LIMIT :limit) AS counted")  # noqa: S608
    values = {"project": project, "start": start, "end": end, "limit": limit}
    return int(session.execute(query, values).scalar_one())


def any_free(session: Session, project: str, start: datetime, end: datetime, held: Collection[str]) -> bool:
    """Returns whether an event received in this time is about none of the held completions."""
    values = {"project": project, "start": start, "end": end, "held": list(held)}
    return bool(session.execute(_ANY_FREE, values).scalar_one())


def has_any_about(session: Session, partition: str, project: str, completion_ids: Collection[str]) -> bool:
    """Returns whether the partition has an event about one of these completions."""
    query = text(
        f"SELECT EXISTS (SELECT FROM {partition} WHERE project_id = :project AND "  # noqa: S608 - our own names
        f"(completion_id = ANY(:ids) OR ({_REJECTED}) = ANY(:ids)))"
    )
    return bool(session.execute(query, {"project": project, "ids": list(completion_ids)}).scalar_one())


def delete_part(
    session: Session,
    project: str,
    start: datetime,
    end: datetime,
    *,
    held: Collection[str],
    after: int,
    limit: int,
) -> Deleted:
    """Deletes the first `limit` events received in this time after a position, except those about held completions."""
    values = {
        "project": project, "start": start, "end": end, "held": list(held), "after": after, "limit": limit,
    }  # fmt: skip
    return Deleted(*session.execute(_DELETE, values).one())


def lock_log(session: Session) -> None:
    """Keeps everybody away from the log until the transaction ends, or raises an error of Postgres if a reader holds
    it for longer than a moment."""
    session.execute(text(f"SET LOCAL lock_timeout = '{LOCK_MILLISECONDS}ms'"))
    session.execute(text("LOCK TABLE ONLY events IN ACCESS EXCLUSIVE MODE"))


def drop(session: Session, partition: str) -> None:
    session.execute(text(f"DROP TABLE {partition}"))


def old_completions(
    session: Session, project: str, before: datetime, *, after: int, limit: int
) -> Sequence[tuple[str, int]]:
    """Returns id and position of completions that were registered before this time, in the order of the log."""
    values = {"project": project, "before": before, "after": after, "limit": limit}
    return session.execute(_OLD_COMPLETIONS, values).tuples().all()


def count_old_completions(session: Session, project: str, before: datetime, limit: int) -> int:
    values = {"project": project, "before": before, "limit": limit}
    return int(session.execute(_COUNT_OLD_COMPLETIONS, values).scalar_one())


def without_own_event(session: Session, project: str, completion_ids: Collection[str]) -> list[str]:
    return list(session.scalars(_WITHOUT_OWN_EVENT, {"project": project, "ids": list(completion_ids)}))


def rejected_ones(session: Session, project: str, completion_ids: Collection[str]) -> set[str]:
    """Returns those of the completions that a preference rejected. Reads the whole log."""
    return set(session.scalars(_REJECTED_ONES, {"project": project, "ids": list(completion_ids)}))


def judged_by(session: Session, project: str, actors: Collection[str]) -> list[str]:
    """Returns the completions that events of these actors are about."""
    return list(session.scalars(_JUDGED_BY, {"project": project, "actors": list(actors)}))


def without_event_at(session: Session, project: str, positions: Collection[int]) -> list[int]:
    return list(session.scalars(_WITHOUT_EVENT_AT, {"project": project, "positions": list(positions)}))


def anything_about(session: Session, project: str, completion_id: str) -> bool:
    return bool(session.execute(_ANYTHING_ABOUT, {"project": project, "id": completion_id}).scalar_one())


def anything_of(session: Session, project: str, actor: str) -> bool:
    return bool(session.execute(_ANYTHING_OF, {"project": project, "actor": actor}).scalar_one())
