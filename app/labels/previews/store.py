"""SQL of previews."""

from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, column, select, table
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql import UUID as PG_UUID
from sqlalchemy.orm import Session

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
