"""Webhooks: endpoints, events, deliveries and their attempts

Revision ID: 0032
Revises: 0031
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = '0032'
down_revision: str | None = "0031"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

JSON = postgresql.JSONB(astext_type=sa.Text())
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        'webhook_endpoints',
        sa.Column('id', sa.UUID(), nullable=False),
        sa.Column('project_id', sa.String(length=63), nullable=False),
        sa.Column('url', sa.String(length=2000), nullable=False),
        sa.Column('kinds', postgresql.ARRAY(sa.String(length=64)), nullable=False, comment='types, or groups such as run.*'),
        sa.Column('format', sa.String(length=16), nullable=False),
        sa.Column('description', sa.String(length=200), nullable=False),
        sa.Column('secret', sa.String(length=100), nullable=False),
        sa.Column('previous_secret', sa.String(length=100), nullable=True),
        sa.Column('previous_secret_until', TIME, nullable=True),
        sa.Column('created_at', TIME, nullable=False),
        sa.Column('created_by', sa.String(length=200), nullable=False),
        sa.Column('disabled_at', TIME, nullable=True),
        sa.Column('disabled_reason', sa.String(length=500), nullable=True),
        sa.Column('last_attempt_at', TIME, nullable=True),
        sa.Column('last_success_at', TIME, nullable=True),
        sa.Column('failures', sa.Integer(), server_default=sa.text('0'), nullable=False, comment='attempts since the last success'),
        sa.Column('rests_until', TIME, nullable=True, comment='no attempt before, so that a dead endpoint does not occupy the senders'),
        sa.CheckConstraint("format IN ('standard', 'slack')", name=op.f('ck_webhook_endpoints_format')),
        sa.CheckConstraint('(disabled_at IS NULL) = (disabled_reason IS NULL)', name=op.f('ck_webhook_endpoints_disabled_with_reason')),
        sa.CheckConstraint('(previous_secret IS NULL) = (previous_secret_until IS NULL)', name=op.f('ck_webhook_endpoints_previous_secret_has_an_end')),
        sa.ForeignKeyConstraint(['project_id'], ['projects.id'], name=op.f('fk_webhook_endpoints_project_id')),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_webhook_endpoints')),
    )
    op.create_index(op.f('ix_webhook_endpoints_project_id'), 'webhook_endpoints', ['project_id'])
    op.create_table(
        'webhook_events',
        sa.Column('id', sa.UUID(), nullable=False),
        sa.Column('project_id', sa.String(length=63), nullable=False),
        sa.Column('type', sa.String(length=64), nullable=False),
        sa.Column('payload', JSON, nullable=False),
        sa.Column('created_at', TIME, nullable=False),
        sa.ForeignKeyConstraint(['project_id'], ['projects.id'], name=op.f('fk_webhook_events_project_id')),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_webhook_events')),
    )
    op.create_index(op.f('ix_webhook_events_created_at'), 'webhook_events', ['created_at'])
    op.create_index('ix_webhook_events_project_id_created_at', 'webhook_events', ['project_id', 'created_at'])
    op.execute('CREATE TRIGGER refuse_update BEFORE UPDATE ON webhook_events FOR EACH ROW EXECUTE FUNCTION refuse_update()')
    op.create_table(
        'webhook_deliveries',
        sa.Column('id', sa.UUID(), nullable=False),
        sa.Column('event_id', sa.Uuid(), nullable=False),
        sa.Column('endpoint_id', sa.Uuid(), nullable=False),
        sa.Column('state', sa.String(length=16), nullable=False),
        sa.Column('reason', sa.String(length=500), nullable=True),
        sa.Column('created_at', TIME, nullable=False),
        sa.Column('began_at', TIME, nullable=False, comment='from which the schedule of attempts counts: creation or replay'),
        sa.Column('next_attempt_at', TIME, nullable=True),
        sa.Column('finished_at', TIME, nullable=True),
        sa.Column('attempts', sa.Integer(), server_default=sa.text('0'), nullable=False, comment="the newest one's number"),
        sa.Column('lease_expires_at', TIME, nullable=True, comment='of the newest attempt, whose number fences its outcome; null: it has ended'),
        sa.CheckConstraint("state IN ('pending', 'delivered', 'failed')", name=op.f('ck_webhook_deliveries_state')),
        sa.CheckConstraint("(state = 'pending') = (next_attempt_at IS NOT NULL)", name=op.f('ck_webhook_deliveries_pending_has_a_next_attempt')),
        sa.CheckConstraint("(state = 'pending') = (finished_at IS NULL)", name=op.f('ck_webhook_deliveries_finished')),
        sa.ForeignKeyConstraint(['event_id'], ['webhook_events.id'], name=op.f('fk_webhook_deliveries_event_id'), ondelete='CASCADE'),
        sa.ForeignKeyConstraint(['endpoint_id'], ['webhook_endpoints.id'], name=op.f('fk_webhook_deliveries_endpoint_id'), ondelete='CASCADE'),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_webhook_deliveries')),
        sa.UniqueConstraint('event_id', 'endpoint_id', name=op.f('uq_webhook_deliveries_event_id_endpoint_id')),
    )
    op.create_index('ix_webhook_deliveries_endpoint_id_id', 'webhook_deliveries', ['endpoint_id', 'id'])
    op.create_index('ix_webhook_deliveries_pending', 'webhook_deliveries', ['endpoint_id', 'next_attempt_at'], postgresql_where=sa.text("state = 'pending'"))
    op.create_table(
        'webhook_attempts',
        sa.Column('delivery_id', sa.Uuid(), nullable=False),
        sa.Column('number', sa.Integer(), autoincrement=False, nullable=False),
        sa.Column('at', TIME, nullable=False),
        sa.Column('seconds', sa.Double(), nullable=True),
        sa.Column('status', sa.SmallInteger(), nullable=True),
        sa.Column('trouble', sa.String(length=500), nullable=True),
        sa.Column('answer', sa.String(length=1024), nullable=True),
        sa.ForeignKeyConstraint(['delivery_id'], ['webhook_deliveries.id'], name=op.f('fk_webhook_attempts_delivery_id'), ondelete='CASCADE'),
        sa.PrimaryKeyConstraint('delivery_id', 'number', name=op.f('pk_webhook_attempts')),
    )


def downgrade() -> None:
    op.drop_table('webhook_attempts')
    op.drop_table('webhook_deliveries')
    op.drop_table('webhook_events')
    op.drop_table('webhook_endpoints')
