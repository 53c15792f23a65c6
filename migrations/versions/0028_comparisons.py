"""Comparisons and sweeps, whose trials are runs

Revision ID: 0028
Revises: 0027
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = '0028'
down_revision: str | None = "0027"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

JSON = postgresql.JSONB(astext_type=sa.Text())


def upgrade() -> None:
    op.create_table(
        'comparisons',
        sa.Column('id', sa.UUID(), nullable=False),
        sa.Column('project_id', sa.String(), nullable=False),
        sa.Column('kind', sa.String(length=16), nullable=False),
        sa.Column('state', sa.String(length=16), nullable=False),
        sa.Column('reason', sa.String(), nullable=True, comment='why it failed or was cancelled'),
        sa.Column('by', sa.String(length=200), nullable=False),
        sa.Column('note', sa.String(length=500), nullable=True),
        sa.Column('request', JSON, nullable=False, comment='what was requested'),
        sa.Column('configuration', JSON, nullable=False, comment="the project's, as it was when the job was requested"),
        sa.Column('suites', JSON, nullable=False, comment='as in runs, of every run'),
        sa.Column('watermark', sa.BigInteger(), nullable=False, comment='last event that the snapshot may see'),
        sa.Column('reference_checkpoint_id', sa.Uuid(), nullable=False),
        sa.Column('snapshot_id', sa.Uuid(), nullable=True, comment='of every run'),
        sa.Column('kl_budget', sa.Float(), nullable=False),
        sa.Column('arms', JSON, nullable=False, comment='name, changes, recipe, budget; no recipe: untouched'),
        sa.Column('trials', JSON, nullable=False, comment='planned so far: arm, seed, rung, recipe; by position'),
        sa.Column('result', JSON, nullable=True, comment='arms, differences, notices, recommendation; null until it has ended'),
        sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
        sa.Column('finished_at', sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("kind IN ('comparison', 'sweep')", name=op.f('ck_comparisons_kind')),
        sa.CheckConstraint("state IN ('running', 'succeeded', 'failed', 'cancelled')", name=op.f('ck_comparisons_state')),
        sa.CheckConstraint("(state = 'running') = (finished_at IS NULL)", name=op.f('ck_comparisons_finished')),
        sa.CheckConstraint("(state = 'running') = (result IS NULL)", name=op.f('ck_comparisons_result')),
        sa.ForeignKeyConstraint(['project_id'], ['projects.id'], name=op.f('fk_comparisons_project_id')),
        sa.ForeignKeyConstraint(['reference_checkpoint_id'], ['checkpoints.id'], name=op.f('fk_comparisons_reference_checkpoint_id')),
        sa.ForeignKeyConstraint(['snapshot_id'], ['snapshots.id'], name=op.f('fk_comparisons_snapshot_id')),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_comparisons')),
    )
    op.create_index('ix_comparisons_running', 'comparisons', ['project_id'], postgresql_where=sa.text("state = 'running'"))
    op.create_index('ix_comparisons_project_id_id', 'comparisons', ['project_id', 'id'])
    # Null in every row that there is, which takes no time; no row has to be checked for long, as runs are few.
    op.add_column('runs', sa.Column('group_id', sa.Uuid(), nullable=True, comment='the job that it is a part of'))
    op.add_column('runs', sa.Column('group_position', sa.Integer(), nullable=True, comment='of its trial in the job, from 0'))
    op.create_foreign_key(op.f('fk_runs_group_id'), 'runs', 'comparisons', ['group_id'], ['id'])
    op.create_check_constraint(op.f('ck_runs_position_in_a_group'), 'runs', '(group_id IS NULL) = (group_position IS NULL)')
    op.create_index(
        'ix_runs_one_per_trial', 'runs', ['group_id', 'group_position'], unique=True, postgresql_where=sa.text('group_id IS NOT NULL')
    )


def downgrade() -> None:
    """Keeps the runs, as ordinary ones. One that waits for its turn would be decided again, so it is cancelled."""
    op.execute("""
        WITH cancelled AS (
            UPDATE runs SET state = 'cancelled', waiting = false, paused = false, finished_at = now(),
                reason = 'comparisons were removed with an older version'
            WHERE group_id IS NOT NULL AND waiting RETURNING id
        )
        INSERT INTO run_transitions (run_id, kind, from_state, to_state, at, "by", reason)
        SELECT id, 'ended', 'queued', 'cancelled', now(), 'thumbwheel', 'comparisons were removed with an older version' FROM cancelled
    """)
    op.drop_index('ix_runs_one_per_trial', table_name='runs')
    op.drop_constraint(op.f('ck_runs_position_in_a_group'), 'runs', type_='check')
    op.drop_constraint(op.f('fk_runs_group_id'), 'runs', type_='foreignkey')
    op.drop_column('runs', 'group_position')
    op.drop_column('runs', 'group_id')
    op.drop_table('comparisons')
