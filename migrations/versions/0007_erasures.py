"""Erasures of actors, what keeps them away, and events that are never trained on

Revision ID: 0007
Revises: 0006
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = '0007'
down_revision: str | None = '0006'
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column('events', sa.Column('never_train', sa.Boolean(), server_default=sa.text('false'), nullable=False))
    op.add_column('projects', sa.Column('erasures', sa.Integer(), server_default=sa.text('0'), nullable=False, comment='how often something was erased: what was read of the log before is void then'))
    op.create_table('tombstones',
    sa.Column('project_id', sa.String(length=63), nullable=False),
    sa.Column('actor_sha256', sa.LargeBinary(), nullable=False, comment='of project, NUL and actor'),
    sa.Column('erased_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['project_id'], ['projects.id'], name=op.f('fk_tombstones_project_id')),
    sa.PrimaryKeyConstraint('project_id', 'actor_sha256', name=op.f('pk_tombstones'))
    )
    op.create_table('erasures',
    sa.Column('id', sa.UUID(), nullable=False),
    sa.Column('project_id', sa.String(length=63), nullable=False),
    sa.Column('actor_sha256', sa.LargeBinary(), nullable=False),
    sa.Column('actor', sa.String(length=128, collation='C'), nullable=True, comment='null once it is done'),
    sa.Column('state', sa.String(length=16), nullable=False),
    sa.Column('step', sa.String(length=16), nullable=False, comment='the next one'),
    sa.Column('requested_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('requested_by', sa.String(length=200), nullable=False),
    sa.Column('started_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('finished_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('attempts', sa.Integer(), nullable=False, comment='that did not end well, since the last step that did'),
    sa.Column('next_attempt_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('trouble', sa.String(), nullable=True, comment='what the last attempt failed of'),
    sa.Column('certificate', postgresql.JSONB(astext_type=sa.Text()), nullable=False),
    sa.Column('lifted_at', sa.DateTime(timezone=True), nullable=True, comment='since when the actor may come back'),
    sa.Column('lifted_by', sa.String(length=200), nullable=True),
    sa.CheckConstraint("state IN ('pending', 'running', 'done', 'failed')", name=op.f('ck_erasures_state')),
    sa.CheckConstraint("(actor IS NULL) = (state = 'done')", name=op.f('ck_erasures_forgets_the_actor')),
    sa.ForeignKeyConstraint(['project_id'], ['projects.id'], name=op.f('fk_erasures_project_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_erasures'))
    )
    op.create_index('ix_erasures_project_id_id', 'erasures', ['project_id', 'id'], unique=False)
    op.create_index('ix_erasures_one_unfinished_per_actor', 'erasures', ['project_id', 'actor_sha256'], unique=True, postgresql_where=sa.text("state <> 'done'"))
    op.create_table('erased_events',
    sa.Column('erasure_id', sa.UUID(), nullable=False),
    sa.Column('event_id', sa.String(length=128, collation='C'), nullable=False),
    sa.ForeignKeyConstraint(['erasure_id'], ['erasures.id'], name=op.f('fk_erased_events_erasure_id')),
    sa.PrimaryKeyConstraint('erasure_id', 'event_id', name=op.f('pk_erased_events'))
    )
    op.create_table('erased_completions',
    sa.Column('erasure_id', sa.UUID(), nullable=False),
    sa.Column('completion_id', sa.String(collation='C'), nullable=False),
    sa.ForeignKeyConstraint(['erasure_id'], ['erasures.id'], name=op.f('fk_erased_completions_erasure_id')),
    sa.PrimaryKeyConstraint('erasure_id', 'completion_id', name=op.f('pk_erased_completions'))
    )
    # A function, so that it looks with a snapshot of its own: a statement that waited for the log's lock began before
    # the tombstone was there, and would not see it.
    op.execute("""
        CREATE FUNCTION erased_actors(projects text[], actors text[]) RETURNS bigint[] LANGUAGE plpgsql VOLATILE
        SET plan_cache_mode = force_generic_plan AS $$
        BEGIN
            IF NOT EXISTS (SELECT FROM tombstones WHERE project_id = ANY (projects)) THEN
                RETURN '{}';
            END IF;
            RETURN ARRAY(
                SELECT given.number FROM unnest(projects, actors) WITH ORDINALITY AS given (project, actor, number)
                -- Not joined: one look at the index for each of a few, however many tombstones there are.
                WHERE (SELECT true FROM tombstones WHERE (project_id, actor_sha256)
                    = (project, sha256(convert_to(project, 'UTF8') || '\\x00' || convert_to(actor, 'UTF8')))));
        END $$
    """)
    # Decisions are never changed nor deleted, but for those on an actor who is being erased.
    op.execute("""
        CREATE FUNCTION refuse_update_but_erasure() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF TG_OP = 'DELETE' AND EXISTS (
                SELECT FROM erasures
                WHERE (project_id, actor) = (OLD.project_id, OLD.actor) AND state = 'running') THEN
                RETURN OLD;
            END IF;
            RAISE EXCEPTION 'rows of % are never changed', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
        END $$
    """)
    op.execute("DROP TRIGGER refuse_update ON quarantine_decisions")
    op.execute("CREATE TRIGGER refuse_update BEFORE UPDATE OR DELETE ON quarantine_decisions FOR EACH ROW EXECUTE FUNCTION refuse_update_but_erasure()")


def downgrade() -> None:
    """What keeps erased actors away has no place in the older tables: it goes."""
    op.execute("DROP TRIGGER refuse_update ON quarantine_decisions")
    op.execute("CREATE TRIGGER refuse_update BEFORE UPDATE OR DELETE ON quarantine_decisions FOR EACH ROW EXECUTE FUNCTION refuse_update()")
    op.execute("DROP FUNCTION refuse_update_but_erasure()")
    op.execute("DROP FUNCTION erased_actors(text[], text[])")
    op.drop_table('erased_completions')
    op.drop_table('erased_events')
    op.drop_index('ix_erasures_one_unfinished_per_actor', table_name='erasures')
    op.drop_index('ix_erasures_project_id_id', table_name='erasures')
    op.drop_table('erasures')
    op.drop_table('tombstones')
    op.drop_column('projects', 'erasures')
    op.drop_column('events', 'never_train')
