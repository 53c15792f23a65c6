"""The first tables

Revision ID: 0001
Revises: 
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = '0001'
down_revision: str | None = None
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

APPEND_ONLY = ("events", "checkpoints", "releases", "snapshots", "run_transitions")


def upgrade() -> None:
    op.create_table('outbox',
    sa.Column('id', sa.UUID(), nullable=False),
    sa.Column('task', sa.String(length=100), nullable=False),
    sa.Column('queue', sa.String(length=100), nullable=False),
    sa.Column('arguments', postgresql.JSONB(astext_type=sa.Text()), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_outbox'))
    )
    op.create_table('projects',
    sa.Column('id', sa.String(length=63), nullable=False),
    sa.Column('base_model', sa.String(), nullable=False),
    sa.Column('configuration', postgresql.JSONB(astext_type=sa.Text()), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_projects'))
    )
    op.create_table('api_keys',
    sa.Column('id', sa.UUID(), nullable=False),
    sa.Column('project_id', sa.String(length=63), nullable=True),
    sa.Column('name', sa.String(length=128), nullable=False),
    sa.Column('prefix', sa.String(length=16), nullable=False),
    sa.Column('secret_sha256', sa.LargeBinary(), nullable=False),
    sa.Column('scopes', sa.ARRAY(sa.String(length=32)), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('expires_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('revoked_at', sa.DateTime(timezone=True), nullable=True),
    sa.ForeignKeyConstraint(['project_id'], ['projects.id'], name=op.f('fk_api_keys_project_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_api_keys')),
    sa.UniqueConstraint('secret_sha256', name=op.f('uq_api_keys_secret_sha256'))
    )
    op.create_table('events',
    sa.Column('project_id', sa.String(length=63), nullable=False),
    sa.Column('event_id', sa.String(length=128), nullable=False),
    sa.Column('position', sa.BigInteger(), sa.Identity(always=True), nullable=False),
    sa.Column('received_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('occurred_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('completion_id', sa.String(length=128), nullable=False),
    sa.Column('actor', sa.String(length=128), nullable=False),
    sa.Column('signal', postgresql.JSONB(astext_type=sa.Text()), nullable=False),
    sa.Column('prompt', postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
    sa.Column('completion', sa.String(), nullable=True),
    sa.Column('checkpoint_id', sa.UUID(), nullable=True),
    sa.Column('metadata', postgresql.JSONB(astext_type=sa.Text()), nullable=False),
    sa.Column('body_sha256', sa.LargeBinary(), nullable=False, comment='tells a replay from another body under the same id'),
    sa.ForeignKeyConstraint(['project_id'], ['projects.id'], name=op.f('fk_events_project_id')),
    sa.PrimaryKeyConstraint('project_id', 'event_id', name=op.f('pk_events'))
    )
    op.create_index('ix_events_project_id_completion_id', 'events', ['project_id', 'completion_id'], unique=False)
    op.create_index('ix_events_project_id_position', 'events', ['project_id', 'position'], unique=True)
    op.create_table('snapshots',
    sa.Column('id', sa.UUID(), nullable=False),
    sa.Column('project_id', sa.String(length=63), nullable=False),
    sa.Column('sha256', sa.String(length=64), nullable=False, comment='of the manifest, which names the hash of every shard'),
    sa.Column('watermark', sa.BigInteger(), nullable=False, comment='position of the last event that was looked at'),
    sa.Column('files', postgresql.JSONB(astext_type=sa.Text()), nullable=False, comment='path -> sha256'),
    sa.Column('manifest', postgresql.JSONB(astext_type=sa.Text()), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['project_id'], ['projects.id'], name=op.f('fk_snapshots_project_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_snapshots')),
    sa.UniqueConstraint('project_id', 'sha256', name=op.f('uq_snapshots_project_id_sha256'))
    )
    op.create_table('checkpoints',
    sa.Column('id', sa.UUID(), nullable=False),
    sa.Column('project_id', sa.String(length=63), nullable=False),
    sa.Column('kind', sa.String(length=16), nullable=False),
    sa.Column('run_id', sa.Uuid(), nullable=True, comment='a run registers one checkpoint at most'),
    sa.Column('parent_id', sa.UUID(), nullable=True),
    sa.Column('stands_on_id', sa.UUID(), nullable=True),
    sa.Column('snapshot_id', sa.UUID(), nullable=True),
    sa.Column('verdict', sa.String(length=16), nullable=False),
    sa.Column('reasons', postgresql.JSONB(astext_type=sa.Text()), nullable=False),
    sa.Column('weights_sha256', sa.String(length=64), nullable=True),
    sa.Column('files', postgresql.JSONB(astext_type=sa.Text()), nullable=False, comment='path -> sha256'),
    sa.Column('scores', postgresql.JSONB(astext_type=sa.Text()), nullable=False),
    sa.Column('manifest', postgresql.JSONB(astext_type=sa.Text()), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.CheckConstraint("(kind = 'base') = (verdict = 'base')", name=op.f('ck_checkpoints_only_the_base_has_no_gates')),
    sa.CheckConstraint("kind IN ('base', 'adapter', 'weights')", name=op.f('ck_checkpoints_kind')),
    sa.CheckConstraint("verdict IN ('base', 'passed', 'failed')", name=op.f('ck_checkpoints_verdict')),
    sa.ForeignKeyConstraint(['parent_id'], ['checkpoints.id'], name=op.f('fk_checkpoints_parent_id')),
    sa.ForeignKeyConstraint(['project_id'], ['projects.id'], name=op.f('fk_checkpoints_project_id')),
    sa.ForeignKeyConstraint(['snapshot_id'], ['snapshots.id'], name=op.f('fk_checkpoints_snapshot_id')),
    sa.ForeignKeyConstraint(['stands_on_id'], ['checkpoints.id'], name=op.f('fk_checkpoints_stands_on_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_checkpoints')),
    sa.UniqueConstraint('id', 'project_id', 'verdict', name=op.f('uq_checkpoints_id_project_id_verdict')),
    sa.UniqueConstraint('run_id', name=op.f('uq_checkpoints_run_id'))
    )
    op.create_table('releases',
    sa.Column('id', sa.UUID(), nullable=False),
    sa.Column('project_id', sa.String(length=63), nullable=False),
    sa.Column('number', sa.Integer(), nullable=False, comment='1, 2, 3 … within the project'),
    sa.Column('checkpoint_id', sa.Uuid(), nullable=False),
    sa.Column('verdict', sa.String(length=16), nullable=False),
    sa.Column('action', sa.String(length=16), nullable=False),
    sa.Column('reason', sa.String(length=500), nullable=False),
    sa.Column('override_reason', sa.String(length=500), nullable=True),
    sa.Column('by', sa.String(length=200), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.CheckConstraint("action IN ('start', 'ship', 'rollback')", name=op.f('ck_releases_action')),
    sa.CheckConstraint("verdict <> 'failed' OR override_reason IS NOT NULL", name=op.f('ck_releases_passed_or_overridden')),
    sa.ForeignKeyConstraint(['checkpoint_id', 'project_id', 'verdict'], ['checkpoints.id', 'checkpoints.project_id', 'checkpoints.verdict'], name='fk_releases_checkpoint_with_verdict'),
    sa.ForeignKeyConstraint(['project_id'], ['projects.id'], name=op.f('fk_releases_project_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_releases')),
    sa.UniqueConstraint('project_id', 'number', name=op.f('uq_releases_project_id_number'))
    )
    op.create_table('runs',
    sa.Column('id', sa.UUID(), nullable=False),
    sa.Column('project_id', sa.String(length=63), nullable=False),
    sa.Column('state', sa.String(length=16), nullable=False),
    sa.Column('reason', sa.String(), nullable=True, comment='why it failed or was cancelled'),
    sa.Column('trigger', sa.String(length=500), nullable=False, comment='who or what asked for it, and why'),
    sa.Column('configuration', postgresql.JSONB(astext_type=sa.Text()), nullable=False, comment="the project's, as it was when the run was requested"),
    sa.Column('recipe', postgresql.JSONB(astext_type=sa.Text()), nullable=False, comment='resolved once the snapshot is known'),
    sa.Column('watermark', sa.BigInteger(), nullable=False, comment='last event that the snapshot may see'),
    sa.Column('reference_checkpoint_id', sa.UUID(), nullable=False),
    sa.Column('snapshot_id', sa.UUID(), nullable=True),
    sa.Column('checkpoint_id', sa.UUID(), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('started_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('finished_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('lease_owner', sa.String(length=200), nullable=True),
    sa.Column('lease_epoch', sa.Integer(), nullable=False, comment='rises with every claim: attempts so far'),
    sa.Column('lease_expires_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('lost', sa.Integer(), nullable=False, comment='attempts whose worker or trainer died'),
    sa.Column('rung_at', sa.DateTime(timezone=True), nullable=False, comment='when workers were last asked to look at it'),
    sa.Column('phase_done', sa.Integer(), nullable=False),
    sa.Column('phase_total', sa.Integer(), nullable=False),
    sa.Column('eta_seconds', sa.Float(), nullable=True),
    sa.Column('last_metrics', postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
    sa.Column('warnings', postgresql.JSONB(astext_type=sa.Text()), nullable=False),
    sa.ForeignKeyConstraint(['checkpoint_id'], ['checkpoints.id'], name=op.f('fk_runs_checkpoint_id')),
    sa.ForeignKeyConstraint(['project_id'], ['projects.id'], name=op.f('fk_runs_project_id')),
    sa.ForeignKeyConstraint(['reference_checkpoint_id'], ['checkpoints.id'], name=op.f('fk_runs_reference_checkpoint_id')),
    sa.ForeignKeyConstraint(['snapshot_id'], ['snapshots.id'], name=op.f('fk_runs_snapshot_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_runs'))
    )
    op.create_index('ix_runs_one_active_per_project', 'runs', ['project_id'], unique=True, postgresql_where=sa.text("state IN ('queued', 'snapshotting', 'referencing', 'training', 'evaluating', 'cancelling')"))
    op.create_index('ix_runs_project_id_created_at', 'runs', ['project_id', 'created_at'], unique=False)
    op.create_table('run_metrics',
    sa.Column('run_id', sa.UUID(), nullable=False),
    sa.Column('step', sa.Integer(), nullable=False),
    sa.Column('values', postgresql.JSONB(astext_type=sa.Text()), nullable=False),
    sa.ForeignKeyConstraint(['run_id'], ['runs.id'], name=op.f('fk_run_metrics_run_id')),
    sa.PrimaryKeyConstraint('run_id', 'step', name=op.f('pk_run_metrics'))
    )
    op.create_table('run_transitions',
    sa.Column('id', sa.BigInteger(), sa.Identity(always=True), nullable=False),
    sa.Column('run_id', sa.UUID(), nullable=False),
    sa.Column('from_state', sa.String(length=16), nullable=True),
    sa.Column('to_state', sa.String(length=16), nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('by', sa.String(length=200), nullable=False),
    sa.Column('reason', sa.String(), nullable=False),
    sa.ForeignKeyConstraint(['run_id'], ['runs.id'], name=op.f('fk_run_transitions_run_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_run_transitions'))
    )
    op.create_index(op.f('ix_run_transitions_run_id'), 'run_transitions', ['run_id'], unique=False)
    op.create_table('trigger_decisions',
    sa.Column('id', sa.BigInteger(), sa.Identity(always=True), nullable=False),
    sa.Column('project_id', sa.String(length=63), nullable=False),
    sa.Column('decided_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('last_seen_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('started', sa.Boolean(), nullable=False),
    sa.Column('reason', sa.String(), nullable=False),
    sa.Column('basis', postgresql.JSONB(astext_type=sa.Text()), nullable=False, comment='all that the decision rests on: the same again decides the same'),
    sa.Column('run_id', sa.UUID(), nullable=True),
    sa.ForeignKeyConstraint(['project_id'], ['projects.id'], name=op.f('fk_trigger_decisions_project_id')),
    sa.ForeignKeyConstraint(['run_id'], ['runs.id'], name=op.f('fk_trigger_decisions_run_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_trigger_decisions'))
    )
    op.create_index(op.f('ix_trigger_decisions_project_id'), 'trigger_decisions', ['project_id'], unique=False)
    # The log and the ledger are append-only: Postgres itself refuses to change them. Erasure deletes events.
    op.execute("""
        CREATE FUNCTION refuse_update() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION 'rows of % are never changed', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
        END $$
    """)
    for table in APPEND_ONLY:
        op.execute(f"CREATE TRIGGER refuse_update BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION refuse_update()")


def downgrade() -> None:
    for table in APPEND_ONLY:
        op.execute(f"DROP TRIGGER refuse_update ON {table}")
    op.execute("DROP FUNCTION refuse_update()")
    op.drop_index(op.f('ix_trigger_decisions_project_id'), table_name='trigger_decisions')
    op.drop_table('trigger_decisions')
    op.drop_index(op.f('ix_run_transitions_run_id'), table_name='run_transitions')
    op.drop_table('run_transitions')
    op.drop_table('run_metrics')
    op.drop_index('ix_runs_project_id_created_at', table_name='runs')
    op.drop_index('ix_runs_one_active_per_project', table_name='runs', postgresql_where=sa.text("state IN ('queued', 'snapshotting', 'referencing', 'training', 'evaluating', 'cancelling')"))
    op.drop_table('runs')
    op.drop_table('releases')
    op.drop_table('checkpoints')
    op.drop_table('snapshots')
    op.drop_index('ix_events_project_id_position', table_name='events')
    op.drop_index('ix_events_project_id_completion_id', table_name='events')
    op.drop_table('events')
    op.drop_table('api_keys')
    op.drop_table('projects')
    op.drop_table('outbox')
