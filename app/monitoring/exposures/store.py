"""SQL of the outputs of each release."""

from collections.abc import Sequence

from sqlalchemy import delete, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.feedback.reading.segments import segment_sql
from app.monitoring.exposures.tables import CountedExposures, Exposures
from app.releases.periods import Period

_ANY_AFTER = text("""
    SELECT coalesce((SELECT max(position) FROM completions WHERE project_id = :project), 0) > :position
""")

#: Adds up the next completions: values with a row in this row, new values in free rows. The others are in the total.
_COUNT_PART = text(f"""
    WITH part AS MATERIALIZED (
        SELECT position, received_at, checkpoint_id, metadata FROM completions
        WHERE project_id = :project AND position > :after AND position <= :watermark ORDER BY position LIMIT :limit
    ), released AS MATERIALIZED (
        SELECT period.number, part.metadata FROM part JOIN unnest(
            CAST(:numbers AS int[]), CAST(:checkpoint_ids AS uuid[]), CAST(:begins AS timestamptz[]),
            CAST(:ends AS timestamptz[])
        ) AS period (number, checkpoint_id, begins, ends)
            ON part.checkpoint_id = period.checkpoint_id AND received_at >= begins
               AND received_at < coalesce(ends, 'infinity')
    ), counted AS (
        SELECT number, '' AS key, '' AS value, count(*) AS completions FROM released GROUP BY number
        UNION ALL
        SELECT number, key, coalesce({segment_sql("key")}, '') AS value, count(*)
        FROM released, unnest(CAST(:keys AS text[])) AS key GROUP BY number, key, value
    ), kept AS MATERIALIZED (
        SELECT release_number, key, value, count(*) OVER (PARTITION BY release_number, key) AS rows
        FROM exposures WHERE project_id = :project
    ), ranked AS (
        SELECT counted.*, kept.value IS NOT NULL OR row_number() OVER (
                   PARTITION BY number, counted.key, kept.value IS NULL ORDER BY completions DESC, counted.value
               ) <= :most_values - coalesce((
                   SELECT max(rows) FROM kept WHERE (release_number, kept.key) = (number, counted.key)), 0) AS has_row
        FROM counted LEFT JOIN kept ON (release_number, kept.key, kept.value) = (number, counted.key, counted.value)
    ), added AS (
        INSERT INTO exposures AS known (project_id, release_number, key, value, completions)
        SELECT :project, number, key, value, completions FROM ranked WHERE has_row
        ON CONFLICT (project_id, release_number, key, value)
        DO UPDATE SET completions = known.completions + EXCLUDED.completions
    )
    SELECT count(*), coalesce(max(position), :after) FROM part
""")  # noqa: S608 - of constants alone


def counted(session: Session, project: str) -> CountedExposures | None:
    return session.get(CountedExposures, project, populate_existing=True)


def locked(session: Session, project: str, keys: Sequence[str]) -> CountedExposures:
    """Locks and returns the row that has the position. With other keys than before, counting begins again."""
    values = {"project_id": project, "position": 0, "keys": list(keys), "complete": False}
    session.execute(insert(CountedExposures).values(values).on_conflict_do_nothing())
    query = select(CountedExposures).where(CountedExposures.project_id == project)
    row = session.scalars(query.with_for_update().execution_options(populate_existing=True)).one()
    if row.keys != list(keys):
        session.execute(delete(Exposures).where(Exposures.project_id == project))
        row.position, row.keys, row.complete = 0, list(keys), False
    return row


def any_after(session: Session, project: str, position: int) -> bool:
    """Returns whether the project has registered completions after this position."""
    return session.execute(_ANY_AFTER, {"project": project, "position": position}).scalar_one()


def count_part(
    session: Session, row: CountedExposures, periods: Sequence[Period], watermark: int, *, limit: int, most_values: int
) -> None:
    """Counts the next `limit` completions by the release that gave them, and advances the row's position past them."""
    values = {
        "project": row.project_id, "after": row.position, "watermark": watermark, "limit": limit, "keys": row.keys,
        "most_values": most_values,
        "numbers": [period.number for period in periods],
        "checkpoint_ids": [period.checkpoint_id for period in periods],
        "begins": [period.begins for period in periods],
        "ends": [period.ends for period in periods],
    }  # fmt: skip
    read, row.position = session.execute(_COUNT_PART, values).one()
    row.complete = read < limit


def of_releases(session: Session, project: str, numbers: Sequence[int]) -> Sequence[Exposures]:
    query = select(Exposures).where(Exposures.project_id == project, Exposures.release_number.in_(numbers))
    return session.scalars(query).all()


def forget(session: Session, project: str) -> None:
    for table in (Exposures, CountedExposures):
        session.execute(delete(table).where(table.project_id == project))
