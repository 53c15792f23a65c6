"""Expired months of feedback, legal holds, and redactions by retention

Revision ID: 0041
Revises: 0040
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = '0041'
down_revision: str | None = "0040"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table('expired_months',
    sa.Column('id', sa.UUID(), nullable=False),
    sa.Column('project_id', sa.String(length=63), nullable=False),
    sa.Column('month', sa.String(length=7), nullable=False, comment='of the receipt, in UTC, as 2025-10'),
    sa.Column('rules', postgresql.JSONB(astext_type=sa.Text()), nullable=False, comment='by which it is deleted'),
    sa.Column('state', sa.String(length=16), nullable=False),
    sa.Column('step', sa.String(length=16), nullable=False, comment='the next one'),
    sa.Column('place', sa.String(), server_default='', nullable=False, comment='up to where the step has come, empty: it has not begun'),
    sa.Column('began_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('finished_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('attempts', sa.Integer(), nullable=False, comment='that did not end well, since the last step that did'),
    sa.Column('next_attempt_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('trouble', sa.String(), nullable=True, comment='what it waits for'),
    sa.Column('certificate', postgresql.JSONB(astext_type=sa.Text()), nullable=False),
    sa.CheckConstraint("state IN ('pending', 'running', 'done')", name=op.f('ck_expired_months_state')),
    sa.CheckConstraint("(finished_at IS NULL) = (state <> 'done')", name=op.f('ck_expired_months_finished')),
    sa.ForeignKeyConstraint(['project_id'], ['projects.id'], name=op.f('fk_expired_months_project_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_expired_months'))
    )
    op.create_index('ix_expired_months_project_id_id', 'expired_months', ['project_id', 'id'])
    op.create_index('ix_expired_months_one_unfinished', 'expired_months', ['project_id', 'month'], unique=True, postgresql_where=sa.text("state <> 'done'"))
    op.create_table('legal_holds',
    sa.Column('id', sa.UUID(), nullable=False),
    sa.Column('project_id', sa.String(length=63), nullable=False),
    sa.Column('kind', sa.String(length=16), nullable=False),
    sa.Column('subject', sa.String(length=128, collation='C'), nullable=True, comment='actor or completion; null: the project, or an actor who was erased since'),
    sa.Column('actor_sha256', sa.LargeBinary(), nullable=True, comment='of project, NUL and actor'),
    sa.Column('reason', sa.String(length=500), nullable=False),
    sa.Column('placed_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('placed_by', sa.String(length=200), nullable=False),
    sa.Column('until', sa.DateTime(timezone=True), nullable=True, comment='null: until it is released'),
    sa.CheckConstraint("kind IN ('project', 'actor', 'completion')", name=op.f('ck_legal_holds_kind')),
    sa.CheckConstraint("CASE kind WHEN 'project' THEN subject IS NULL WHEN 'completion' THEN subject IS NOT NULL ELSE true END", name=op.f('ck_legal_holds_subject')),
    sa.ForeignKeyConstraint(['project_id'], ['projects.id'], name=op.f('fk_legal_holds_project_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_legal_holds'))
    )
    op.create_index('ix_legal_holds_project_id_id', 'legal_holds', ['project_id', 'id'])
    op.create_table('legal_hold_releases',
    sa.Column('hold_id', sa.UUID(), nullable=False),
    sa.Column('released_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('released_by', sa.String(length=200), nullable=False),
    sa.Column('reason', sa.String(length=500), nullable=False),
    sa.ForeignKeyConstraint(['hold_id'], ['legal_holds.id'], name=op.f('fk_legal_hold_releases_hold_id')),
    sa.PrimaryKeyConstraint('hold_id', name=op.f('pk_legal_hold_releases'))
    )
    # A certificate is final, and the history of a hold only grows. An erasure takes the id of its actor out of holds
    # that have ended: nothing else of the row may change.
    op.execute("CREATE TRIGGER refuse_update BEFORE UPDATE OR DELETE ON expired_months FOR EACH ROW WHEN (OLD.state = 'done') EXECUTE FUNCTION refuse_update()")
    op.execute("CREATE TRIGGER refuse_update BEFORE UPDATE OR DELETE ON legal_hold_releases FOR EACH ROW EXECUTE FUNCTION refuse_update()")
    op.execute("CREATE TRIGGER refuse_delete BEFORE DELETE ON legal_holds FOR EACH ROW EXECUTE FUNCTION refuse_update()")
    op.execute("""
        CREATE TRIGGER refuse_update BEFORE UPDATE ON legal_holds FOR EACH ROW
        WHEN (OLD.kind <> 'actor' OR NEW.subject IS NOT NULL
              OR (OLD.id, OLD.project_id, OLD.kind, OLD.actor_sha256, OLD.reason, OLD.placed_at, OLD.placed_by, OLD.until)
                 IS DISTINCT FROM
                 (NEW.id, NEW.project_id, NEW.kind, NEW.actor_sha256, NEW.reason, NEW.placed_at, NEW.placed_by, NEW.until))
        EXECUTE FUNCTION refuse_update()
    """)
    op.alter_column('snapshot_redactions', 'erasure_id', existing_type=sa.UUID(), nullable=True, comment='null: by the retention of the project')


def downgrade() -> None:
    # An older version knows redactions by erasures alone: those by retention get an id that no erasure has.
    op.execute("UPDATE snapshot_redactions SET erasure_id = snapshot_id WHERE erasure_id IS NULL")
    op.alter_column('snapshot_redactions', 'erasure_id', existing_type=sa.UUID(), nullable=False, comment=None, existing_comment='null: by the retention of the project')
    op.drop_table('legal_hold_releases')
    op.drop_table('legal_holds')
    op.drop_table('expired_months')
