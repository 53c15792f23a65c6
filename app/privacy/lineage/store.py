"""SQL of lineage: from snapshots to their runs and checkpoints."""

from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from app.runs.tables import ACTIVE

_BEFORE = text("""
    WITH RECURSIVE older AS (
        SELECT unnest(CAST(:snapshots AS uuid[])) AS id
        UNION
        SELECT snapshot_id FROM snapshot_redactions JOIN older ON successor_id = older.id)
    SELECT id FROM older
""")

_RUNS = """
    SELECT id AS run_id, state, snapshot_id FROM runs
    WHERE project_id = :project AND snapshot_id = ANY(:snapshots) {} ORDER BY id
"""

_ENDED_ON_REDACTED = text(f"""
    SELECT id FROM runs JOIN snapshot_redactions USING (snapshot_id)
    WHERE id = ANY(:runs) AND state NOT IN {ACTIVE}
""")  # noqa: S608 - of constants alone

_CHECKPOINTS = text("""
    WITH RECURSIVE touched AS (
        SELECT id, true AS itself FROM checkpoints WHERE project_id = :project AND snapshot_id = ANY(:snapshots)
        UNION
        SELECT checkpoints.id, false FROM checkpoints JOIN touched ON parent_id = touched.id)
    SELECT id AS checkpoint_id, run_id, snapshot_id, itself
    FROM (SELECT id, bool_or(itself) AS itself FROM touched GROUP BY id) found JOIN checkpoints USING (id)
    ORDER BY id
""")

_PERIODS = text("""
    SELECT checkpoint_id, created_at AS since,
        (SELECT min(later.created_at) FROM releases AS later
         WHERE later.project_id = :project AND later.number > entry.number
            AND (entry.action = 'canary' OR later.action NOT IN ('canary', 'end_canary'))) AS until
    FROM releases AS entry
    WHERE project_id = :project AND action <> 'end_canary' AND checkpoint_id = ANY(:checkpoints) ORDER BY since
""")


def with_predecessors(session: Session, snapshot_ids: Collection[UUID]) -> list[UUID]:
    """Returns the snapshots and the predecessors that redactions replaced by them."""
    return list(session.scalars(_BEFORE, {"snapshots": list(snapshot_ids)}))


def runs_on(
    session: Session, project: str, snapshot_ids: Collection[UUID], *, active: bool
) -> Sequence[Row[tuple[UUID, str, UUID]]]:
    """Returns run_id, state and snapshot_id of runs. `active`: only runs that have not ended."""
    query = text(_RUNS.format(f"AND state IN {ACTIVE}" if active else ""))
    return session.execute(query, {"project": project, "snapshots": list(snapshot_ids)}).all()


def ended_on_redacted(session: Session, run_ids: Collection[UUID]) -> list[UUID]:
    return list(session.scalars(_ENDED_ON_REDACTED, {"runs": list(run_ids)}))


def checkpoints_of(
    session: Session, project: str, snapshot_ids: Collection[UUID]
) -> Sequence[Row[tuple[UUID, UUID | None, UUID | None, bool]]]:
    """Returns checkpoint_id, run_id, snapshot_id and itself, which is false for a checkpoint that only continues from
    one that was trained on the snapshots."""
    return session.execute(_CHECKPOINTS, {"project": project, "snapshots": list(snapshot_ids)}).all()


def periods(
    session: Session, project: str, checkpoint_ids: Collection[UUID]
) -> Sequence[Row[tuple[UUID, datetime, datetime | None]]]:
    """Returns checkpoint_id, since and until of the periods in which these checkpoints were live."""
    return session.execute(_PERIODS, {"project": project, "checkpoints": list(checkpoint_ids)}).all()
