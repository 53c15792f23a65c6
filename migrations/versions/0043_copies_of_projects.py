"""Copies of projects: erasures of the original, and its split key

Revision ID: 0043
Revises: 0042
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = '0043'
down_revision: str | None = "0042"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

# A tombstone of the project's own name, or of one whose erasures were copied. Not joined: one look at the index for each
# of a few, however many tombstones there are.
ERASED_ACTORS = """
    CREATE OR REPLACE FUNCTION erased_actors(projects text[], actors text[]) RETURNS bigint[] LANGUAGE plpgsql VOLATILE
    SET plan_cache_mode = force_generic_plan AS $$
    BEGIN
        IF NOT EXISTS (SELECT FROM tombstones WHERE project_id = ANY (projects)) THEN
            RETURN '{{}}';
        END IF;
        RETURN ARRAY(
            SELECT given.number FROM unnest(projects, actors) WITH ORDINALITY AS given (project, actor, number)
            WHERE (SELECT true FROM tombstones WHERE (project_id, actor_sha256)
                = (project, sha256(convert_to(project, 'UTF8') || '\\x00' || convert_to(actor, 'UTF8'))))
    {more});
    END $$
"""
OF_COPIES = """
            OR EXISTS (SELECT FROM tombstone_names AS named WHERE named.project_id = project AND
                (SELECT true FROM tombstones WHERE (project_id, actor_sha256)
                    = (project, sha256(convert_to(named.name, 'UTF8') || '\\x00' || convert_to(actor, 'UTF8')))))
"""


def upgrade() -> None:
    op.create_table('tombstone_names',
    sa.Column('project_id', sa.String(length=63), nullable=False),
    sa.Column('name', sa.String(length=63), nullable=False),
    sa.ForeignKeyConstraint(['project_id'], ['projects.id'], name=op.f('fk_tombstone_names_project_id')),
    sa.PrimaryKeyConstraint('project_id', 'name', name=op.f('pk_tombstone_names'))
    )
    op.add_column('erasures', sa.Column('hashed_for', sa.String(length=63), nullable=True, comment='the project in actor_sha256, if another one: this erasure was copied'))
    op.alter_column('tombstones', 'actor_sha256', existing_type=sa.LargeBinary(), existing_nullable=False, comment='of project, NUL and actor; the project is this one, or one of tombstone_names', existing_comment='of project, NUL and actor')
    op.add_column('projects', sa.Column('split_key', sa.String(length=63), nullable=True, comment='what decides with a prompt on which side it is; null: the id of the project'))
    op.execute(ERASED_ACTORS.format(more=OF_COPIES))


def downgrade() -> None:
    """Actors who were erased from the original of a copy may come back, as older versions know no such tombstones."""
    op.execute(ERASED_ACTORS.format(more=""))
    op.drop_column('projects', 'split_key')
    op.alter_column('tombstones', 'actor_sha256', existing_type=sa.LargeBinary(), existing_nullable=False, comment='of project, NUL and actor', existing_comment='of project, NUL and actor; the project is this one, or one of tombstone_names')
    op.drop_column('erasures', 'hashed_for')
    op.drop_table('tombstone_names')
