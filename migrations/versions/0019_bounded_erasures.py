"""Erasures in bounded parts, tables that are vacuumed after them, checkpoint ids that nobody knows

Revision ID: 0019
Revises: 0018
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = '0019'
down_revision: str | None = '0018'
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column('erasures', sa.Column('place', sa.String(), server_default='', nullable=False, comment='up to where the step has come, empty: it has not begun'))
    op.add_column('erasures', sa.Column('watermark', sa.BigInteger(), nullable=True, comment='end of the log when the first step began'))
    op.create_table('erased_tables',
    sa.Column('erasure_id', sa.UUID(), nullable=False),
    sa.Column('table_name', sa.String(), nullable=False),
    sa.Column('last_xid', sa.BigInteger(), nullable=True, comment='transaction that ended the erasure: older ones may still read what it deleted; null: not done'),
    sa.Column('vacuumed_at', sa.DateTime(timezone=True), nullable=True, comment='null: not yet'),
    sa.Column('rewritten', sa.Boolean(), nullable=True, comment='whether it has a new file, without the erased rows'),
    sa.ForeignKeyConstraint(['erasure_id'], ['erasures.id'], name=op.f('fk_erased_tables_erasure_id')),
    sa.PrimaryKeyConstraint('erasure_id', 'table_name', name=op.f('pk_erased_tables'))
    )
    op.create_index('ix_erased_tables_waiting', 'erased_tables', ['table_name'], unique=False, postgresql_where=sa.text('vacuumed_at IS NULL'))
    op.create_table('counted_checkpoints',
    sa.Column('project_id', sa.String(length=63), nullable=False),
    sa.Column('position', sa.BigInteger(), nullable=False, comment='of the last event that was looked at'),
    sa.Column('further_events', sa.BigInteger(), nullable=False, comment='events with ids for which there was no row left'),
    sa.ForeignKeyConstraint(['project_id'], ['projects.id'], name=op.f('fk_counted_checkpoints_project_id')),
    sa.PrimaryKeyConstraint('project_id', name=op.f('pk_counted_checkpoints'))
    )
    op.create_table('unknown_checkpoints',
    sa.Column('project_id', sa.String(length=63), nullable=False),
    sa.Column('checkpoint_id', sa.UUID(), nullable=False),
    sa.Column('events', sa.BigInteger(), nullable=False),
    sa.Column('last_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['project_id'], ['projects.id'], name=op.f('fk_unknown_checkpoints_project_id')),
    sa.PrimaryKeyConstraint('project_id', 'checkpoint_id', name=op.f('pk_unknown_checkpoints'))
    )
    # Which tables an erasure under way has touched so far, nobody has noted: all that one may touch.
    op.execute("""
        INSERT INTO erased_tables (erasure_id, table_name)
        SELECT erasures.id, relname FROM erasures, pg_class
        WHERE state <> 'done' AND step <> 'log' AND relkind = 'r' AND relnamespace = current_schema()::regnamespace
          AND (relname LIKE 'events\\_%' OR relname = ANY ('{actor_findings, completions, edit_comparisons, erased_completions, erasures,
               label_audit_items, label_audit_verdicts, label_suspicions, quarantine_decisions, reference_log_probs}'))
    """)


def downgrade() -> None:
    # The older code erases the log in one step, and would not find the rest of what it has to erase.
    op.execute("""
        DO $$ BEGIN
            IF EXISTS (SELECT FROM erasures WHERE state <> 'done' AND (step IN ('events', 'completions') OR place <> '')) THEN
                RAISE EXCEPTION 'erasures are under way: wait for their end (thumbwheel erasures list), then try again';
            END IF;
        END $$
    """)
    op.execute("UPDATE erasures SET step = 'snapshots' WHERE step = 'end'")
    op.drop_table('unknown_checkpoints')
    op.drop_table('counted_checkpoints')
    op.drop_index('ix_erased_tables_waiting', table_name='erased_tables')
    op.drop_table('erased_tables')
    op.drop_column('erasures', 'watermark')
    op.drop_column('erasures', 'place')
