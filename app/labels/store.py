"""SQL of the labels: everything that was said, completion by completion."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

CHUNK = 500


class Said(NamedTuple):
    """One event, seen from the completion it is about. A preference is seen twice: also from the one not preferred.

    `signal` None: superseded or taken back, or a completion that was registered; only its text counts.
    """

    completion_id: str
    position: int
    occurred_at: datetime
    actor: str
    signal: dict[str, Any] | None
    prompt: str | list[dict[str, Any]] | None
    completion: str | None
    checkpoint_id: UUID | None


#: A completion that was not preferred and has no id of its own gets one made of its text. What an actor took back, or
#: put something else in the place of, keeps its text. A registered completion comes first: its text is the text.
_SAID = """
    WITH change AS MATERIALIZED (
        SELECT supersedes, actor, completion_id, coalesce(occurred_at, received_at) AS moment, position
        FROM events
        WHERE project_id = :project AND position <= :watermark
          AND (supersedes IS NOT NULL OR signal ->> 'kind' = 'retract')
    ), event AS NOT MATERIALIZED (
        SELECT e.*, moment, kind,
               kind <> 'retract'
               AND NOT EXISTS (
                   SELECT FROM change WHERE (change.supersedes, change.actor, change.completion_id)
                                            = (e.event_id, e.actor, e.completion_id))
               AND NOT EXISTS (
                   SELECT FROM change
                   WHERE change.supersedes IS NULL AND (change.actor, change.completion_id) = (e.actor, e.completion_id)
                     AND (change.moment, change.position) > (read.moment, e.position)) AS stands
        FROM events e
        CROSS JOIN LATERAL (
            SELECT coalesce(e.occurred_at, e.received_at) AS moment, e.signal ->> 'kind' AS kind) AS read
        WHERE project_id = :project AND position <= :watermark
    ), named AS NOT MATERIALIZED (
        SELECT completion_id FROM event
        UNION
        SELECT (signal ->> 'rejected_completion_id') COLLATE "C" FROM event WHERE kind = 'preference'
    ), said AS (
        SELECT false AS registered, completion_id, position, moment, actor, CASE WHEN stands THEN signal END AS signal,
               prompt, completion, checkpoint_id
        FROM event
        UNION ALL
        SELECT false, coalesce(signal ->> 'rejected_completion_id', completion_id || '#rejected:' ||
                               left(encode(sha256(convert_to(signal ->> 'rejected', 'UTF8')), 'hex'), 16)) COLLATE "C",
               position, moment, actor, CASE WHEN stands THEN '{"kind": "not_preferred"}'::json END,
               CASE WHEN signal ->> 'rejected' IS NOT NULL THEN prompt END, signal ->> 'rejected', NULL
        FROM event WHERE kind = 'preference'
        UNION ALL
        SELECT true, completion_id, position, received_at, '', NULL, prompt, completion, checkpoint_id
        FROM completions JOIN named USING (completion_id)
        WHERE project_id = :project AND position <= :watermark
    )
    SELECT completion_id, position, moment, actor, signal, prompt, completion, checkpoint_id FROM said
"""


def said(session: Session, project: str, *, watermark: int, since: int, checkpoint_id: UUID | None) -> Iterator[Said]:
    """All up to `watermark`, streamed, the events of a completion together: its registered text first, then in the
    order of the log.

    since          leaves out completions of which nothing was said after this position
    checkpoint_id  leaves out completions that no event says to come from it
    """
    conditions = []
    if since > 0:
        conditions.append("completion_id IN (SELECT completion_id FROM said WHERE position > :since)")
    if checkpoint_id is not None:
        conditions.append("completion_id IN (SELECT completion_id FROM said WHERE checkpoint_id = :checkpoint_id)")
    where = "WHERE " + " AND ".join(conditions) if conditions else ""
    rows = session.execute(
        text(f'{_SAID} {where} ORDER BY completion_id COLLATE "C", registered DESC, position'),
        {"project": project, "watermark": watermark, "since": since, "checkpoint_id": checkpoint_id},
        execution_options={"stream_results": True, "yield_per": CHUNK},
    )
    for row in rows:
        yield Said(*row)
