"""Sightings of the live checkpoint and of the canary at serving targets

Revision ID: 0035
Revises: 0034
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = '0035'
down_revision: str | None = "0034"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

JSON = postgresql.JSONB(astext_type=sa.Text())
MOVED = ('state', 'reason', 'seen_checkpoint_id', 'seen', 'seen_at', 'probe', 'attempts')


def upgrade() -> None:
    op.create_table(
        'serving_sightings',
        sa.Column('target_id', sa.Uuid(), nullable=False),
        sa.Column('role', sa.String(length=8), nullable=False, comment='live or canary'),
        sa.Column('state', sa.String(length=16), nullable=False),
        sa.Column('reason', sa.String(), nullable=True, comment='why it does not serve what the ledger says yet'),
        sa.Column('seen_checkpoint_id', sa.Uuid(), nullable=True),
        sa.Column('seen', JSON, nullable=True, comment='what it is loaded as: kind, digest, name, path, model'),
        sa.Column('seen_at', sa.DateTime(timezone=True), nullable=True, comment='last found there'),
        sa.Column('probe', JSON, nullable=True, comment='wire.ProbeResult'),
        sa.Column('attempts', sa.Integer(), nullable=False, comment='failed in a row'),
        sa.CheckConstraint("role IN ('live', 'canary')", name=op.f('ck_serving_sightings_role')),
        sa.CheckConstraint(
            "state IN ('loading', 'serving', 'failed', 'away', 'left_out')", name=op.f('ck_serving_sightings_state')
        ),
        sa.CheckConstraint("role = 'canary' OR state <> 'left_out'", name=op.f('ck_serving_sightings_live_is_served')),
        sa.CheckConstraint('(seen_checkpoint_id IS NULL) = (seen IS NULL)', name=op.f('ck_serving_sightings_seen')),
        sa.ForeignKeyConstraint(
            ['target_id'], ['serving_targets.id'], name=op.f('fk_serving_sightings_target_id'), ondelete='CASCADE'
        ),
        sa.ForeignKeyConstraint(
            ['seen_checkpoint_id'], ['checkpoints.id'], name=op.f('fk_serving_sightings_seen_checkpoint_id')
        ),
        sa.PrimaryKeyConstraint('target_id', 'role', name=op.f('pk_serving_sightings')),
    )
    op.execute(
        "INSERT INTO serving_sightings "
        "(target_id, role, state, reason, seen_checkpoint_id, seen, seen_at, probe, attempts) "
        "SELECT id, 'live', state, reason, seen_checkpoint_id, seen, seen_at, probe, attempts "
        "FROM serving_targets WHERE state <> 'new'"
    )
    op.drop_constraint(op.f('ck_serving_targets_state'), 'serving_targets')
    op.drop_constraint(op.f('ck_serving_targets_seen'), 'serving_targets')
    for column in MOVED:
        op.drop_column('serving_targets', column)
    op.alter_column(
        'serving_targets',
        'loaded',
        comment='what was loaded, or may have been: written before each load; unload_at once nobody needs it',
    )


def downgrade() -> None:
    """Keeps what was seen of the live checkpoint. A canary stays in `loaded`, so the next look unloads it."""
    op.add_column('serving_targets', sa.Column('state', sa.String(length=16), nullable=False, server_default='new'))
    op.add_column(
        'serving_targets',
        sa.Column('reason', sa.String(), nullable=True, comment='why it does not serve the live checkpoint yet'),
    )
    op.add_column('serving_targets', sa.Column('seen_checkpoint_id', sa.Uuid(), nullable=True))
    op.add_column(
        'serving_targets',
        sa.Column('seen', JSON, nullable=True, comment='what it is loaded as: kind, digest, name, path, model'),
    )
    op.add_column(
        'serving_targets', sa.Column('seen_at', sa.DateTime(timezone=True), nullable=True, comment='last found there')
    )
    op.add_column('serving_targets', sa.Column('probe', JSON, nullable=True, comment='wire.ProbeResult'))
    op.add_column(
        'serving_targets',
        sa.Column('attempts', sa.Integer(), nullable=False, server_default='0', comment='failed in a row'),
    )
    op.alter_column('serving_targets', 'state', server_default=None)
    op.alter_column('serving_targets', 'attempts', server_default=None)
    op.execute(
        "UPDATE serving_targets SET state = each.state, reason = each.reason, "
        "seen_checkpoint_id = each.seen_checkpoint_id, seen = each.seen, seen_at = each.seen_at, probe = each.probe, "
        "attempts = each.attempts "
        "FROM serving_sightings AS each WHERE each.target_id = serving_targets.id AND each.role = 'live'"
    )
    op.create_check_constraint(
        op.f('ck_serving_targets_state'),
        'serving_targets',
        "state IN ('new', 'loading', 'serving', 'failed', 'away')",
    )
    op.create_check_constraint(
        op.f('ck_serving_targets_seen'), 'serving_targets', '(seen_checkpoint_id IS NULL) = (seen IS NULL)'
    )
    op.create_foreign_key(
        op.f('fk_serving_targets_seen_checkpoint_id'), 'serving_targets', 'checkpoints', ['seen_checkpoint_id'], ['id']
    )
    op.alter_column(
        'serving_targets',
        'loaded',
        comment='what was loaded, or may have been: written before each load; unload_at once another one is seen',
    )
    op.drop_table('serving_sightings')
