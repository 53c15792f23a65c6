"""Projects that are archived or get another base model; the end of the loop's last round

Revision ID: 0015
Revises: 0009
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = '0015'
down_revision: str | None = '0009'
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table('ticks',
    sa.Column('id', sa.SmallInteger(), nullable=False),
    sa.Column('ended_at', sa.DateTime(timezone=True), nullable=False),
    sa.CheckConstraint('id = 1', name=op.f('ck_ticks_single')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_ticks'))
    )
    op.add_column('projects', sa.Column('archived_at', sa.DateTime(timezone=True), nullable=True))
    op.add_column('checkpoints', sa.Column('base_model', sa.String(), nullable=True, comment="folder of the base model that its line of ancestry begins with"))
    # Until now a project had one base model for good: all of its checkpoints descend from that one.
    op.execute("UPDATE checkpoints SET base_model = projects.base_model FROM projects WHERE projects.id = checkpoints.project_id")
    op.alter_column('checkpoints', 'base_model', nullable=False)
    op.create_index('ix_checkpoints_one_base_per_folder', 'checkpoints', ['project_id', 'base_model'], unique=True, postgresql_where=sa.text("kind = 'base'"))


def downgrade() -> None:
    op.drop_index('ix_checkpoints_one_base_per_folder', table_name='checkpoints')
    op.drop_column('checkpoints', 'base_model')
    op.drop_column('projects', 'archived_at')
    op.drop_table('ticks')
