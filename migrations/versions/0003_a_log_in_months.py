"""A log in months, ids of its own, completions that are registered

Revision ID: 0003
Revises: 0002
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = '0003'
down_revision: str | None = '0002'
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

APPEND_ONLY = ("events", "event_ids", "completions")
EVENTS = "project_id, event_id, position, received_at, occurred_at, completion_id, actor, signal, prompt, completion, checkpoint_id, metadata"


def upgrade() -> None:
    _put_aside()
    op.execute("CREATE SEQUENCE log_positions")
    op.create_table('events',
    sa.Column('project_id', sa.String(length=63), nullable=False),
    sa.Column('position', sa.BigInteger(), nullable=False),
    sa.Column('received_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('event_id', sa.String(length=128, collation='C'), nullable=False),
    sa.Column('occurred_at', sa.DateTime(timezone=True), nullable=True, comment='null: none was sent'),
    sa.Column('completion_id', sa.String(length=128, collation='C'), nullable=False),
    sa.Column('actor', sa.String(length=128, collation='C'), nullable=False),
    sa.Column('signal', postgresql.JSON(), nullable=False),
    sa.Column('prompt', postgresql.JSON(none_as_null=True), nullable=True),
    sa.Column('completion', sa.String(), nullable=True),
    sa.Column('checkpoint_id', sa.UUID(), nullable=True),
    sa.Column('supersedes', sa.String(length=128, collation='C'), nullable=True),
    sa.Column('metadata', postgresql.JSON(), nullable=False),
    sa.ForeignKeyConstraint(['project_id'], ['projects.id'], name=op.f('fk_events_project_id')),
    sa.PrimaryKeyConstraint('project_id', 'position', 'received_at', name=op.f('pk_events')),
    postgresql_partition_by='RANGE (received_at)',
    )
    op.create_index('ix_events_project_id_completion_id', 'events', ['project_id', 'completion_id'], unique=False)
    # What no month is there for is stored all the same.
    op.execute("CREATE TABLE events_other PARTITION OF events DEFAULT")
    op.execute("""
        DO $$
        DECLARE month timestamptz;
        BEGIN
            FOR month IN SELECT generate_series(
                date_trunc('month', coalesce((SELECT min(received_at) FROM events_aside), now()), 'UTC'),
                now() + interval '2 months', interval '1 month', 'UTC')
            LOOP
                EXECUTE format(
                    'CREATE TABLE events_%s PARTITION OF events FOR VALUES FROM (%L) TO (%L)',
                    to_char(month AT TIME ZONE 'UTC', 'YYYY_MM'), month,
                    (month AT TIME ZONE 'UTC' + interval '1 month') AT TIME ZONE 'UTC');
            END LOOP;
        END $$
    """)
    op.create_table('event_ids',
    sa.Column('project_id', sa.String(length=63), nullable=False),
    sa.Column('event_id', sa.String(length=128, collation='C'), nullable=False),
    sa.Column('position', sa.BigInteger(), nullable=False),
    sa.Column('received_at', sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('project_id', 'event_id', name=op.f('pk_event_ids'))
    )
    op.create_table('completions',
    sa.Column('project_id', sa.String(length=63), nullable=False),
    sa.Column('completion_id', sa.String(length=128, collation='C'), nullable=False),
    sa.Column('position', sa.BigInteger(), nullable=False),
    sa.Column('received_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('prompt', postgresql.JSON(), nullable=False),
    sa.Column('completion', sa.String(), nullable=False),
    sa.Column('checkpoint_id', sa.UUID(), nullable=True),
    sa.Column('sampling', postgresql.JSON(), nullable=False),
    sa.Column('token_ids', sa.ARRAY(sa.Integer()), nullable=True),
    sa.Column('log_probs', sa.ARRAY(sa.Float()), nullable=True),
    sa.Column('metadata', postgresql.JSON(), nullable=False),
    sa.ForeignKeyConstraint(['project_id'], ['projects.id'], name=op.f('fk_completions_project_id')),
    sa.PrimaryKeyConstraint('project_id', 'completion_id', name=op.f('pk_completions'))
    )
    op.create_index('ix_completions_project_id_position', 'completions', ['project_id', 'position'], unique=True)
    op.execute(f"""
        INSERT INTO events ({EVENTS})
        SELECT project_id, event_id, position, received_at, nullif(occurred_at, received_at), completion_id, actor,
               signal::json, prompt::json, completion, checkpoint_id, metadata::json
        FROM events_aside
    """)
    op.execute("INSERT INTO event_ids SELECT project_id, event_id, position, received_at FROM events_aside")
    op.execute("ALTER SEQUENCE log_positions OWNED BY events.position")
    op.execute("SELECT setval('log_positions', max(position)) FROM events HAVING max(position) IS NOT NULL")
    op.execute("DROP TABLE events_aside")
    _refuse_updates(*APPEND_ONLY)


def downgrade() -> None:
    """Registered completions, and which event superseded which, have no place in the older tables: they go."""
    op.drop_table('completions')
    op.drop_table('event_ids')
    _put_aside()
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
    # The hash of a body can't be made here: an older version takes a replay of these events for another body.
    op.execute(f"""
        INSERT INTO events ({EVENTS}, body_sha256) OVERRIDING SYSTEM VALUE
        SELECT project_id, event_id, position, received_at, coalesce(occurred_at, received_at), completion_id, actor,
               signal::jsonb, prompt::jsonb, completion, checkpoint_id, metadata::jsonb, ''
        FROM events_aside
    """)
    op.execute("SELECT setval(pg_get_serial_sequence('events', 'position'), max(position)) FROM events HAVING max(position) IS NOT NULL")
    op.execute("DROP TABLE events_aside")
    _refuse_updates("events")


def _put_aside() -> None:
    """Let go of the names that the other table takes."""
    op.execute("ALTER TABLE events RENAME TO events_aside")
    op.execute("ALTER TABLE events_aside DROP CONSTRAINT pk_events, DROP CONSTRAINT fk_events_project_id")
    op.execute("DROP INDEX ix_events_project_id_completion_id")
    op.execute("DROP INDEX IF EXISTS ix_events_project_id_position")


def _refuse_updates(*tables: str) -> None:
    for table in tables:
        op.execute(f"CREATE TRIGGER refuse_update BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION refuse_update()")
