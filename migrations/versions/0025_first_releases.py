"""The first release of projects that nobody has looked at

Revision ID: 0025
Revises: 0024
"""

from collections.abc import Sequence
from uuid import UUID

import sqlalchemy as sa
import uuid6
from alembic import op

revision: str = '0025'
down_revision: str | None = '0024'
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

# A process of the older version may make the same rows meanwhile: then its rows stay.
CHECKPOINT = sa.text("""
    INSERT INTO checkpoints
        (id, project_id, kind, base_model, verdict, reasons, files, scores, manifest, created_at)
    VALUES (:checkpoint_id, :project, 'base', :base_model, 'base', '[]', '{}', '{}', '{}', :created_at)
    ON CONFLICT (project_id, base_model) WHERE kind = 'base' DO NOTHING
""")
RELEASE = sa.text("""
    INSERT INTO releases (id, project_id, number, checkpoint_id, verdict, action, reason, by, created_at)
    SELECT :release_id, project_id, 1, id, 'base', 'start', 'the project''s base model', 'thumbwheel', :created_at
    FROM checkpoints WHERE (project_id, base_model, kind) = (:project, :base_model, 'base')
    ON CONFLICT (project_id, number) DO NOTHING
""")


def _id() -> UUID:
    return UUID(int=uuid6.uuid7().int)


def upgrade() -> None:
    # Until now, the first request for what is live wrote them.
    connection = op.get_bind()
    without = connection.execute(sa.text("""
        SELECT id AS project, base_model, created_at FROM projects
        WHERE NOT EXISTS (SELECT FROM releases WHERE project_id = projects.id) ORDER BY id
    """)).mappings()
    rows = [{**row, 'checkpoint_id': _id(), 'release_id': _id()} for row in without]
    if rows:
        connection.execute(CHECKPOINT, rows)
        connection.execute(RELEASE, rows)


def downgrade() -> None:
    """Leaves the rows: the older version would make the same ones, and the ledger is never changed."""
