"""SQL of unknown checkpoint ids."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, exists, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.checkpoints.tables import Checkpoint
from app.checkpoints.unknown.tables import CountedCheckpoints, UnknownCheckpoint

_ANY_AFTER = text("""
    SELECT coalesce((SELECT max(position) FROM events WHERE project_id = :project), 0) > :position
""")

#: Adds up the ids of the next events: ids with a row in this row, new ids in free rows, the rest in one sum.
_COUNT_PART = text("""
    WITH part AS MATERIALIZED (
        SELECT count(*) AS events, max(position) AS last FROM (
            SELECT position FROM events WHERE project_id = :project AND position > :after AND position <= :watermark
            ORDER BY position LIMIT :limit) AS following
    ), named AS (
        SELECT checkpoint_id, count(*) AS events, max(received_at) AS last_at FROM events, part
        WHERE project_id = :project AND position > :after AND position <= part.last AND checkpoint_id IS NOT NULL
          AND NOT EXISTS (
              SELECT FROM checkpoints WHERE (checkpoints.project_id, id) = (events.project_id, checkpoint_id))
        GROUP BY checkpoint_id
    ), kept AS MATERIALIZED (
        SELECT checkpoint_id FROM unknown_checkpoints WHERE project_id = :project
    ), ranked AS MATERIALIZED (
        SELECT named.*, kept.checkpoint_id IS NOT NULL OR row_number() OVER (
                   PARTITION BY kept.checkpoint_id IS NULL ORDER BY named.events DESC, named.checkpoint_id
               ) <= :most_ids - (SELECT count(*) FROM kept) AS has_row
        FROM named LEFT JOIN kept USING (checkpoint_id)
    ), added AS (
        INSERT INTO unknown_checkpoints AS known (project_id, checkpoint_id, events, last_at)
        SELECT :project, checkpoint_id, events, last_at FROM ranked WHERE has_row
        ON CONFLICT (project_id, checkpoint_id)
        DO UPDATE SET events = known.events + EXCLUDED.events, last_at = EXCLUDED.last_at
    )
    SELECT coalesce(part.last, :after) AS last,
           coalesce((SELECT sum(events) FROM ranked WHERE NOT has_row), 0)::bigint AS further
    FROM part
""")


def locked(session: Session, project: str) -> CountedCheckpoints:
    """Locks and returns the row that has the position up to which the project's events are counted."""
    session.execute(
        insert(CountedCheckpoints).values(project_id=project, position=0, further_events=0).on_conflict_do_nothing()
    )
    query = select(CountedCheckpoints).where(CountedCheckpoints.project_id == project)
    return session.scalars(query.with_for_update()).one()


def counted(session: Session, project: str) -> CountedCheckpoints | None:
    return session.get(CountedCheckpoints, project)


def any_after(session: Session, project: str, position: int) -> bool:
    """Returns whether the project has events after this position."""
    return session.execute(_ANY_AFTER, {"project": project, "position": position}).scalar_one()


def count_part(session: Session, row: CountedCheckpoints, watermark: int, *, limit: int, most_ids: int) -> None:
    """Counts the unknown ids of the next `limit` events, and advances the row's position past them."""
    values = {
        "project": row.project_id, "after": row.position, "watermark": watermark, "limit": limit, "most_ids": most_ids,
    }  # fmt: skip
    last, further = session.execute(_COUNT_PART, values).one()
    row.position, row.further_events = last, row.further_events + further


def most_named(session: Session, project: str, limit: int) -> Sequence[UnknownCheckpoint]:
    """Returns the ids that still belong to no checkpoint of the project, most events first."""
    query = select(UnknownCheckpoint).where(*_unknown(project))
    return session.scalars(
        query.order_by(UnknownCheckpoint.events.desc(), UnknownCheckpoint.checkpoint_id).limit(limit)
    ).all()


def totals(session: Session, project: str) -> tuple[int, int]:
    """Returns the number of unknown ids, and of the events that named them."""
    events = func.coalesce(func.sum(UnknownCheckpoint.events), 0)
    ids, named = session.execute(select(func.count(), events).where(*_unknown(project))).one()
    return ids, named


def _unknown(project: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    registered = exists().where(
        Checkpoint.project_id == UnknownCheckpoint.project_id, Checkpoint.id == UnknownCheckpoint.checkpoint_id
    )
    return UnknownCheckpoint.project_id == project, ~registered
