"""SQL of previews."""

from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, column, select, table
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql import UUID as PG_UUID
from sqlalchemy.orm import Session

#: Snapshots belong to a room above; a preview only reads the watermark and the manifest, which names the policy.
SNAPSHOTS = table(
    "snapshots",
    column("id", PG_UUID(as_uuid=True)),
    column("project_id"),
    column("watermark", BigInteger),
    column("manifest", JSONB),
)


def snapshot(session: Session, project: str, snapshot_id: UUID) -> tuple[int, dict[str, Any]] | None:
    """Returns the snapshot's watermark and manifest, None if there is no such snapshot."""
    query = select(SNAPSHOTS.c.watermark, SNAPSHOTS.c.manifest).where(
        SNAPSHOTS.c.id == snapshot_id, SNAPSHOTS.c.project_id == project
    )
    row = session.execute(query).one_or_none()
    return None if row is None else (row.watermark, row.manifest)
