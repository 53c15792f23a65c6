"""Ages of events when a release has learnt from them

Revision ID: 0031
Revises: 0030
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = '0031'
down_revision: str | None = "0030"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table('learned_releases',
    sa.Column('release_id', sa.Uuid(), nullable=False),
    sa.Column('project_id', sa.String(length=63), nullable=False),
    sa.Column('release_number', sa.Integer(), nullable=False),
    sa.Column('checkpoint_id', sa.Uuid(), nullable=False),
    sa.Column('released_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('watermark', sa.BigInteger(), nullable=False, comment='of the snapshot that the checkpoint learnt from'),
    sa.Column('events', sa.BigInteger(), nullable=False),
    sa.Column('ages', postgresql.ARRAY(sa.Double()), nullable=True, comment='seconds at the release: quantiles 0, 1 %, … 100 %; null without events'),
    sa.ForeignKeyConstraint(['checkpoint_id'], ['checkpoints.id'], name=op.f('fk_learned_releases_checkpoint_id')),
    sa.ForeignKeyConstraint(['project_id'], ['projects.id'], name=op.f('fk_learned_releases_project_id')),
    sa.ForeignKeyConstraint(['release_id'], ['releases.id'], name=op.f('fk_learned_releases_release_id')),
    sa.PrimaryKeyConstraint('release_id', name=op.f('pk_learned_releases'))
    )
    op.create_index(op.f('ix_learned_releases_project_id'), 'learned_releases', ['project_id'], unique=False)
    op.create_table('waiting_events',
    sa.Column('project_id', sa.String(length=63), nullable=False),
    sa.Column('after', sa.BigInteger(), nullable=False, comment='the last position that a release has learnt from'),
    sa.Column('watermark', sa.BigInteger(), nullable=False),
    sa.Column('events', sa.BigInteger(), nullable=False),
    sa.Column('ages', postgresql.ARRAY(sa.Double()), nullable=True, comment='as of learned_releases, at read_at'),
    sa.Column('read_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('seconds', sa.Double(), nullable=False, comment='duration of the reading'),
    sa.ForeignKeyConstraint(['project_id'], ['projects.id'], name=op.f('fk_waiting_events_project_id')),
    sa.PrimaryKeyConstraint('project_id', name=op.f('pk_waiting_events'))
    )


def downgrade() -> None:
    op.drop_table('waiting_events')
    op.drop_index(op.f('ix_learned_releases_project_id'), table_name='learned_releases')
    op.drop_table('learned_releases')
