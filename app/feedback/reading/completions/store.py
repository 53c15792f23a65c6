"""SQL of reading the log completion by completion: prompts, texts, and the signals about one."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import polars as pl
from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from app.arrow_queries import arrow, literal
from app.feedback.reading.event_time import BY_ARRIVAL_SQL, MOMENT_SQL
from app.feedback.reading.not_preferred import ID_SQL, OTHER_SIDE_SQL
from app.feedback.reading.segments import segment_sql


def prompts(session: Session, project: str, watermark: int) -> pl.DataFrame:
    """Returns completion_id and prompt of each completion: a number that is the same where prompts are, letter by
    letter. The registered prompt counts first, then that of the first event that carried one."""
    where = f"project_id = {literal(project)} AND position <= {watermark:d}"
    number = "hashtextextended(prompt::text, 0) AS prompt"
    found = _frame(
        session,
        f"SELECT 0 AS source, position, completion_id, {number} FROM completions WHERE {where} UNION ALL "  # noqa: S608
        f"SELECT 1, position, completion_id, {number} FROM events WHERE {where} AND completion IS NOT NULL UNION ALL "
        f"SELECT 1, position, {ID_SQL}, {number} FROM events "
        f"WHERE {where} AND signal ->> 'kind' = 'preference' AND signal ->> 'rejected' IS NOT NULL",
        pl.Schema({"source": pl.Int32, "position": pl.Int64, "completion_id": pl.String, "prompt": pl.Int64}),
    )
    return found.sort("source", "position").unique("completion_id", keep="first").select("completion_id", "prompt")


def _frame(session: Session, query: str, schema: pl.Schema) -> pl.DataFrame:
    parts = [pl.DataFrame(pl.from_arrow(batch)) for batch in arrow(session, query)]
    return pl.concat([pl.DataFrame(schema=schema), *(part.cast(schema) for part in parts)])


def texts(
    session: Session, project: str, completion_ids: Collection[str], watermark: int
) -> dict[str, tuple[Any, str | None]]:
    """Returns prompt and completion of each of these that has a text, by id."""
    found: dict[str, tuple[Any, str | None]] = {}
    wanted = {"project": project, "watermark": watermark, "ids": list(completion_ids)}
    bases = sorted({one.rpartition("#rejected:")[0] for one in completion_ids} - {""})
    for row in session.execute(text(_TEXTS), {**wanted, "bases": bases}):
        found.setdefault(row.completion_id, (row.prompt, row.completion))
    return found


_TEXTS = f"""
    SELECT completion_id, prompt, completion FROM (
        SELECT 0 AS source, position, completion_id, prompt, completion FROM completions
        WHERE project_id = :project AND position <= :watermark AND completion_id = ANY(:ids)
        UNION ALL
        SELECT 1, position, completion_id, prompt, completion FROM events
        WHERE project_id = :project AND position <= :watermark AND completion_id = ANY(:ids) AND completion IS NOT NULL
        UNION ALL
        SELECT 1, position, {ID_SQL}, prompt, signal ->> 'rejected' FROM events
        WHERE project_id = :project AND position <= :watermark AND completion_id = ANY(:bases)
          AND signal ->> 'kind' = 'preference' AND signal ->> 'rejected' IS NOT NULL AND {ID_SQL} = ANY(:ids)
    ) AS carrier ORDER BY source, position
"""  # noqa: S608 - of constants alone

_SIGNALS = f"""
    SELECT event_id, position, {MOMENT_SQL} AS moment, {BY_ARRIVAL_SQL} AS by_arrival, received_at, actor,
           completion_id, signal, CASE WHEN signal ->> 'kind' = 'preference' THEN {ID_SQL} END AS other, prompt,
           completion
    FROM events WHERE project_id = :project AND position <= :watermark AND completion_id = :id
    UNION ALL
    SELECT event_id, position, {MOMENT_SQL}, {BY_ARRIVAL_SQL}, received_at, actor, completion_id,
           {OTHER_SIDE_SQL}, completion_id, CASE WHEN signal ->> 'rejected' IS NOT NULL THEN prompt END,
           signal ->> 'rejected'
    FROM events
    WHERE project_id = :project AND position <= :watermark AND signal ->> 'kind' = 'preference'
      AND ((signal ->> 'rejected_completion_id') COLLATE "C" = :id OR (completion_id = :base AND {ID_SQL} = :id))
    ORDER BY moment, position
"""  # noqa: S608 - of constants alone


def signals_about(session: Session, project: str, completion_id: str, watermark: int) -> Sequence[Row[Any]]:
    """Returns the signals about one completion by time, those too that prefer another one to it: event_id, position,
    moment, by_arrival, received_at, actor, completion_id (of the event), signal, other (id of the completion that it is
    compared with), prompt, completion.

    The id of a completion without one of its own begins with the id of the completion that was preferred to it.
    """
    base = completion_id.rpartition("#rejected:")[0]
    values = {"project": project, "watermark": watermark, "id": completion_id, "base": base}
    return session.execute(text(_SIGNALS), values).all()


_SEGMENTS = f"""
    SELECT wanted.hash, found.value FROM unnest(CAST(:ids AS text[]), CAST(:hashes AS int[])) AS wanted (id, hash),
        LATERAL (
            SELECT {segment_sql(":key")} AS value FROM completions
            WHERE (project_id, completion_id) = (:project, wanted.id) AND hashtext({segment_sql(":key")}) = wanted.hash
            UNION ALL
            SELECT {segment_sql(":key")} FROM events
            WHERE (project_id, completion_id) = (:project, wanted.id) AND hashtext({segment_sql(":key")}) = wanted.hash
            LIMIT 1
        ) AS found
"""  # noqa: S608 - of constants alone


def segment_values(session: Session, project: str, key: str, hashes: Mapping[int, str]) -> dict[int, str]:
    """Returns the values of metadata with these hashes (see `LogSource.segments`), each known by the id of a completion
    that has it.
    """
    values = {"project": project, "key": key, "ids": list(hashes.values()), "hashes": list(hashes)}
    return dict(session.execute(text(_SEGMENTS), values).tuples().all())
