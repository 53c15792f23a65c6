"""Log-probs of references, file by file

Revision ID: 0002
Revises: 0001
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = '0002'
down_revision: str | None = '0001'
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table('reference_log_probs',
    sa.Column('snapshot_id', sa.Uuid(), nullable=False),
    sa.Column('sha256', sa.String(length=64), nullable=False),
    sa.Column('reference_checkpoint_id', sa.Uuid(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['reference_checkpoint_id'], ['checkpoints.id'], name=op.f('fk_reference_log_probs_reference_checkpoint_id')),
    sa.ForeignKeyConstraint(['snapshot_id'], ['snapshots.id'], name=op.f('fk_reference_log_probs_snapshot_id')),
    sa.PrimaryKeyConstraint('snapshot_id', 'sha256', name=op.f('pk_reference_log_probs'))
    )
    op.create_index(op.f('ix_reference_log_probs_reference_checkpoint_id'), 'reference_log_probs', ['reference_checkpoint_id'], unique=False)


def downgrade() -> None:
    op.drop_index(op.f('ix_reference_log_probs_reference_checkpoint_id'), table_name='reference_log_probs')
    op.drop_table('reference_log_probs')
