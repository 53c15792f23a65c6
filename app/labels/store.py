"""SQL of the labels: everything that was said, completion by completion."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

CHUNK = 500


class Said(NamedTuple):
    """One event, seen from the completion it is about. A preference is seen twice: also from the one not preferred."""

    completion_id: str
    position: int
    occurred_at: datetime
    actor: str
    signal: dict[str, Any]
    prompt: str | list[dict[str, str]] | None
    completion: str | None
    checkpoint_id: UUID | None


#: A completion that was not preferred and has no id of its own gets one made of its text.
_SAID = """
    SELECT completion_id, position, occurred_at, actor, signal, prompt, completion, checkpoint_id
    FROM events WHERE project_id = :project AND position <= :watermark
    UNION ALL
    SELECT coalesce(signal ->> 'rejected_completion_id', completion_id || '#rejected:' ||
                    left(encode(sha256(convert_to(signal ->> 'rejected', 'UTF8')), 'hex'), 16)),
           position, occurred_at, actor, '{"kind": "not_preferred"}'::jsonb, prompt, signal ->> 'rejected', NULL
    FROM events WHERE project_id = :project AND position <= :watermark AND signal ->> 'kind' = 'preference'
"""


def said(session: Session, project: str, *, watermark: int, since: int, checkpoint_id: UUID | None) -> Iterator[Said]:
    """All up to `watermark`, streamed, the events of a completion together in the order of the log.

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
        text(f'WITH said AS ({_SAID}) SELECT * FROM said {where} ORDER BY completion_id COLLATE "C", position'),  # noqa: S608 - made of the constants above
        {"project": project, "watermark": watermark, "since": since, "checkpoint_id": checkpoint_id},
        execution_options={"stream_results": True, "yield_per": CHUNK},
    )
    for row in rows:
        yield Said(*row)
