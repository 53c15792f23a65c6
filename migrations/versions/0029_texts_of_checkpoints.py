"""Files of checkpoints that hold texts of users

Revision ID: 0029
Revises: 0028
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = '0029'
down_revision: str | None = "0028"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    # Rows of checkpoints are never changed, but an erasure has to replace these files.
    op.create_table('checkpoint_texts',
    sa.Column('checkpoint_id', sa.Uuid(), nullable=False),
    sa.Column('files', postgresql.JSONB(astext_type=sa.Text()), nullable=False, comment='path -> sha256'),
    sa.ForeignKeyConstraint(['checkpoint_id'], ['checkpoints.id'], name=op.f('fk_checkpoint_texts_checkpoint_id')),
    sa.PrimaryKeyConstraint('checkpoint_id', name=op.f('pk_checkpoint_texts'))
    )


def downgrade() -> None:
    op.drop_table('checkpoint_texts')
