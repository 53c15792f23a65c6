"""SQL of previews and explanations: what was said lately, what a completion looks like, all that was said of one."""

from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

import polars as pl
from sqlalchemy import BigInteger, column, select, table, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql import UUID as PG_UUID
from sqlalchemy.orm import Session

from app.database import arrow, literal
from app.labels.previews.explanation import Said
from app.labels.previews.preview import Look
from app.labels.rejected import ID_SQL

#: Snapshots belong to a room that lies above; a preview only asks how far the log went for one, and by which policy.
SNAPSHOTS = table(
    "snapshots",
    column("id", PG_UUID(as_uuid=True)),
    column("project_id"),
    column("watermark", BigInteger),
    column("manifest", JSONB),
)


def snapshot(session: Session, project: str, snapshot_id: UUID) -> tuple[int, dict[str, Any]] | None:
    """Its watermark and its manifest."""
    asked = select(SNAPSHOTS.c.watermark, SNAPSHOTS.c.manifest).where(
        SNAPSHOTS.c.id == snapshot_id, SNAPSHOTS.c.project_id == project
    )
    row = session.execute(asked).one_or_none()
    return None if row is None else (row.watermark, row.manifest)


def prompts(session: Session, project: str, watermark: int) -> pl.DataFrame:
    """completion_id · prompt: a number that is the same where prompts are, letter by letter. The registered one first,
    then that of the first event that carried one."""
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


def looks(session: Session, project: str, completion_ids: Collection[str], watermark: int) -> dict[str, Look]:
    """Prompts and completions of a few; those without a text are not there."""
    found: dict[str, Look] = {}
    wanted = {"project": project, "watermark": watermark, "ids": list(completion_ids)}
    bases = sorted({one.rpartition("#rejected:")[0] for one in completion_ids} - {""})
    for row in session.execute(text(_LOOKS), {**wanted, "bases": bases}):
        found.setdefault(row.completion_id, Look(row.prompt, row.completion))
    return found


_LOOKS = f"""
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

_SAID = f"""
    WITH about AS (
        SELECT event_id, position, coalesce(occurred_at, received_at) AS moment, actor, completion_id, signal, prompt,
               completion, signal ->> 'kind' AS kind
        FROM events WHERE project_id = :project AND position <= :watermark AND completion_id = :id
        UNION ALL
        SELECT event_id, position, coalesce(occurred_at, received_at), actor, completion_id,
               '{{"kind": "not_preferred"}}'::json, CASE WHEN signal ->> 'rejected' IS NOT NULL THEN prompt END,
               signal ->> 'rejected', 'not_preferred'
        FROM events
        WHERE project_id = :project AND position <= :watermark AND signal ->> 'kind' = 'preference'
          AND (:base = '' OR completion_id = :base) AND {ID_SQL} = :id
    )
    SELECT event_id, position, moment, actor, signal, prompt, completion,
           kind <> 'retract'
           AND NOT EXISTS (
               SELECT FROM events AS change
               WHERE change.project_id = :project AND change.position <= :watermark
                 AND (change.completion_id, change.actor) = (about.completion_id, about.actor)
                 AND change.supersedes = about.event_id)
           AND NOT EXISTS (
               SELECT FROM events AS change
               WHERE change.project_id = :project AND change.position <= :watermark
                 AND (change.completion_id, change.actor) = (about.completion_id, about.actor)
                 AND change.supersedes IS NULL AND change.signal ->> 'kind' = 'retract'
                 AND (coalesce(change.occurred_at, change.received_at), change.position)
                     > (about.moment, about.position)) AS stands
    FROM about ORDER BY moment, position
"""  # noqa: S608 - of constants alone


def said_of(session: Session, project: str, completion_id: str, watermark: int) -> Sequence[Said]:
    """All that was said of one completion, by time. Preferences that name it as the other one are looked for in the
    whole log, unless its id tells where they are."""
    base = completion_id.rpartition("#rejected:")[0]
    values = {"project": project, "watermark": watermark, "id": completion_id, "base": base}
    return [Said(*row) for row in session.execute(text(_SAID), values)]


def any_said(session: Session, project: str, actors: Collection[str], least: int, watermark: int) -> bool:
    """Whether one of the actors may have so many votes. A preference is two."""
    asked = """
        SELECT EXISTS (
            SELECT FROM events WHERE project_id = :project AND position <= :watermark AND actor = ANY(:actors)
            GROUP BY actor HAVING 2 * count(*) >= :least)
    """
    values = {"project": project, "watermark": watermark, "actors": list(actors), "least": least}
    return bool(session.scalar(text(asked), values))
