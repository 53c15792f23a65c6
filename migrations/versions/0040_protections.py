"""Redaction before storage and hashed actors

Revision ID: 0040
Revises: 0039
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = '0040'
down_revision: str | None = "0039"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

ERASED_DECISION = """
    CREATE OR REPLACE FUNCTION refuse_update_but_erasure() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP = 'DELETE' AND EXISTS (
            SELECT FROM erasures WHERE {condition} AND state = 'running') THEN
            RETURN OLD;
        END IF;
        RAISE EXCEPTION 'rows of % are never changed', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
    END $$
"""


def upgrade() -> None:
    op.create_table('protections',
    sa.Column('id', sa.UUID(), nullable=False),
    sa.Column('project_id', sa.String(length=63), nullable=False),
    sa.Column('number', sa.Integer(), nullable=False, comment='1, 2, 3 … within the project'),
    sa.Column('mode', sa.String(length=16), nullable=False),
    sa.Column('kinds', sa.ARRAY(sa.String()), nullable=False),
    sa.Column('hashes_actors', sa.Boolean(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.CheckConstraint("mode IN ('off', 'mask', 'reject')", name=op.f('ck_protections_mode')),
    sa.ForeignKeyConstraint(['project_id'], ['projects.id'], name=op.f('fk_protections_project_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_protections')),
    sa.UniqueConstraint('project_id', 'number', name=op.f('uq_protections_project_id_number'))
    )
    op.create_table('redaction_findings',
    sa.Column('project_id', sa.String(length=63), nullable=False),
    sa.Column('mode', sa.String(length=16), nullable=False),
    sa.Column('kind', sa.String(length=64), nullable=False),
    sa.Column('findings', sa.BigInteger(), nullable=False),
    sa.Column('last_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['project_id'], ['projects.id'], name=op.f('fk_redaction_findings_project_id')),
    sa.PrimaryKeyConstraint('project_id', 'mode', 'kind', name=op.f('pk_redaction_findings'))
    )
    op.create_table('pseudonym_key',
    sa.Column('one', sa.Boolean(), nullable=False),
    sa.Column('fingerprint', sa.LargeBinary(), nullable=False),
    sa.Column('since', sa.DateTime(timezone=True), nullable=False),
    sa.CheckConstraint("one", name=op.f('ck_pseudonym_key_one_row')),
    sa.PrimaryKeyConstraint('one', name=op.f('pk_pseudonym_key'))
    )
    # A function, so that it looks with a snapshot of its own: a statement that waited for the log's lock began before
    # the new version was there, and would not see it.
    op.execute("""
        CREATE FUNCTION require_protections(projects text[], versions uuid[]) RETURNS boolean LANGUAGE plpgsql VOLATILE
        SET plan_cache_mode = force_generic_plan AS $$
        BEGIN
            IF EXISTS (
                SELECT FROM unnest(projects, versions) AS given (project, version)
                WHERE version IS DISTINCT FROM (
                    SELECT id FROM protections WHERE project_id = project ORDER BY number DESC LIMIT 1)) THEN
                RAISE EXCEPTION 'redaction or actors of a project were set otherwise' USING ERRCODE = 'TW001';
            END IF;
            RETURN true;
        END $$
    """)
    op.add_column('erasures', sa.Column('pseudonym', sa.String(length=128, collation='C'), nullable=True, comment="the hash of the actor's id, by which events are stored; null once it is done"))
    op.add_column('erasures', sa.Column('pseudonym_sha256', sa.LargeBinary(), nullable=True, comment='of project, NUL and pseudonym'))
    op.execute(ERASED_DECISION.format(condition="project_id = OLD.project_id AND OLD.actor IN (actor, pseudonym)"))


def downgrade() -> None:
    op.execute(ERASED_DECISION.format(condition="(project_id, actor) = (OLD.project_id, OLD.actor)"))
    op.drop_column('erasures', 'pseudonym_sha256')
    op.drop_column('erasures', 'pseudonym')
    op.execute("DROP FUNCTION require_protections(text[], uuid[])")
    op.drop_table('pseudonym_key')
    op.drop_table('redaction_findings')
    op.drop_table('protections')
