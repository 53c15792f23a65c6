"""Serving targets

Revision ID: 0033
Revises: 0032
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = '0033'
down_revision: str | None = "0032"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

JSON = postgresql.JSONB(astext_type=sa.Text())


def upgrade() -> None:
    op.create_table(
        'serving_targets',
        sa.Column('id', sa.UUID(), nullable=False),
        sa.Column('project_id', sa.String(), nullable=False),
        sa.Column('name', sa.String(length=63), nullable=False),
        sa.Column('settings', JSON, nullable=False, comment='wire.TargetSettings; a key by the name of its variable alone'),
        sa.Column('enabled', sa.Boolean(), nullable=False),
        sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
        sa.Column('created_by', sa.String(length=200), nullable=False),
        sa.Column('state', sa.String(length=16), nullable=False),
        sa.Column('reason', sa.String(), nullable=True, comment='why it does not serve the live checkpoint yet'),
        sa.Column('seen_checkpoint_id', sa.Uuid(), nullable=True),
        sa.Column('seen', JSON, nullable=True, comment='what it is loaded as: kind, digest, name, path, model'),
        sa.Column('seen_at', sa.DateTime(timezone=True), nullable=True, comment='last found there'),
        sa.Column('probe', JSON, nullable=True, comment='wire.ProbeResult'),
        sa.Column(
            'loaded',
            JSON,
            server_default=sa.text("'[]'"),
            nullable=False,
            comment='what was loaded, or may have been: written before each load; unload_at once another one is seen',
        ),
        sa.Column('attempts', sa.Integer(), nullable=False, comment='failed in a row'),
        sa.Column('next_try_at', sa.DateTime(timezone=True), nullable=False),
        sa.Column('rung_at', sa.DateTime(timezone=True), nullable=True, comment='when workers were last asked to look at it'),
        sa.Column('lease_owner', sa.String(length=200), nullable=True),
        sa.Column('lease_epoch', sa.Integer(), nullable=False, comment='rises with every claim and every change'),
        sa.Column('lease_expires_at', sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("state IN ('new', 'loading', 'serving', 'failed', 'away')", name=op.f('ck_serving_targets_state')),
        sa.CheckConstraint('(seen_checkpoint_id IS NULL) = (seen IS NULL)', name=op.f('ck_serving_targets_seen')),
        sa.ForeignKeyConstraint(['project_id'], ['projects.id'], name=op.f('fk_serving_targets_project_id')),
        sa.ForeignKeyConstraint(['seen_checkpoint_id'], ['checkpoints.id'], name=op.f('fk_serving_targets_seen_checkpoint_id')),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_serving_targets')),
        sa.UniqueConstraint('project_id', 'name', name=op.f('uq_serving_targets_project_id_name')),
    )
    op.create_index('ix_serving_targets_due', 'serving_targets', ['next_try_at'], postgresql_where=sa.text('enabled'))


def downgrade() -> None:
    """Forgets the targets. What their servers have loaded stays there."""
    op.drop_table('serving_targets')
