"""Runs that are paused, wait behind another one or come from another one; keys of idempotent requests; metrics in order

Revision ID: 0009
Revises: 0008
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = '0009'
down_revision: str | None = '0008'
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

ACTIVE = "state IN ('queued', 'snapshotting', 'referencing', 'training', 'evaluating', 'cancelling')"


def upgrade() -> None:
    op.create_table('idempotency_keys',
    sa.Column('project_id', sa.String(length=63), nullable=False),
    sa.Column('key', sa.String(length=255), nullable=False),
    sa.Column('operation', sa.String(length=500), nullable=False, comment='method and path'),
    sa.Column('body_sha256', sa.String(length=64), nullable=False),
    sa.Column('status', sa.SmallInteger(), nullable=False),
    sa.Column('response', postgresql.JSONB(astext_type=sa.Text()), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['project_id'], ['projects.id'], name=op.f('fk_idempotency_keys_project_id')),
    sa.PrimaryKeyConstraint('project_id', 'key', name=op.f('pk_idempotency_keys'))
    )
    op.create_index('ix_idempotency_keys_created_at', 'idempotency_keys', ['created_at'], unique=False)
    op.add_column('runs', sa.Column('paused', sa.Boolean(), server_default=sa.false(), nullable=False, comment='no worker may have it until it is resumed'))
    op.add_column('runs', sa.Column('waiting', sa.Boolean(), server_default=sa.false(), nullable=False, comment="queued behind the project's active run"))
    op.add_column('runs', sa.Column('changes', postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False, comment='recipe fields that were asked for this run alone'))
    op.add_column('runs', sa.Column('source_run_id', sa.UUID(), nullable=True))
    op.add_column('runs', sa.Column('source', sa.String(length=16), nullable=True, comment='what this run is of `source_run_id`'))
    op.add_column('runs', sa.Column('said', sa.String(), nullable=True, comment='the last lines of a process that did not end well'))
    op.create_foreign_key(op.f('fk_runs_source_run_id'), 'runs', 'runs', ['source_run_id'], ['id'])
    op.create_check_constraint(op.f('ck_runs_source'), 'runs', "source IN ('retry', 'reproduction')")
    op.create_check_constraint(op.f('ck_runs_source_of_a_run'), 'runs', '(source IS NULL) = (source_run_id IS NULL)')
    op.create_check_constraint(op.f('ck_runs_waiting_is_queued'), 'runs', "NOT waiting OR state = 'queued'")
    op.drop_index('ix_runs_one_active_per_project', table_name='runs')
    op.create_index('ix_runs_one_active_per_project', 'runs', ['project_id'], unique=True, postgresql_where=sa.text(f'{ACTIVE} AND NOT waiting'))
    op.create_index('ix_runs_waiting', 'runs', ['project_id', 'id'], unique=False, postgresql_where=sa.text('waiting'))
    op.add_column('run_metrics', sa.Column('number', sa.BigInteger(), server_default=sa.text("nextval('run_transitions_id_seq')"), nullable=False, comment='by when it was written, of the same sequence as run_transitions'))
    op.create_index('ix_run_metrics_number', 'run_metrics', ['run_id', 'number'], unique=False)
    op.create_index('ix_run_metrics_drift', 'run_metrics', ['run_id', 'step'], unique=False, postgresql_where=sa.text("(values ->> 'kl_nats_per_token') IS NOT NULL"))


def downgrade() -> None:
    op.drop_index('ix_run_metrics_drift', table_name='run_metrics')
    op.drop_index('ix_run_metrics_number', table_name='run_metrics')
    op.drop_column('run_metrics', 'number')
    # Two active runs of a project are more than the older index lets be.
    op.execute("UPDATE runs SET state = 'cancelled', reason = 'it waited while the tables went back a version', waiting = false, finished_at = now() WHERE waiting")
    op.drop_index('ix_runs_waiting', table_name='runs')
    op.drop_index('ix_runs_one_active_per_project', table_name='runs')
    op.create_index('ix_runs_one_active_per_project', 'runs', ['project_id'], unique=True, postgresql_where=sa.text(ACTIVE))
    op.drop_constraint(op.f('ck_runs_waiting_is_queued'), 'runs', type_='check')
    op.drop_constraint(op.f('ck_runs_source_of_a_run'), 'runs', type_='check')
    op.drop_constraint(op.f('ck_runs_source'), 'runs', type_='check')
    op.drop_constraint(op.f('fk_runs_source_run_id'), 'runs', type_='foreignkey')
    for column in ('said', 'source', 'source_run_id', 'changes', 'waiting', 'paused'):
        op.drop_column('runs', column)
    op.drop_index('ix_idempotency_keys_created_at', table_name='idempotency_keys')
    op.drop_table('idempotency_keys')
