"""Versions of suites, which of them a project adopts, and the suites of each run

Revision ID: 0027
Revises: 0026
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = '0027'
down_revision: str | None = '0026'
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

APPEND_ONLY = ("suites", "suite_adoptions")


def upgrade() -> None:
    op.create_table('suites',
    sa.Column('project_id', sa.String(length=63), nullable=False),
    sa.Column('name', sa.String(length=128, collation='C'), nullable=False),
    sa.Column('version', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('document', sa.JSON(), nullable=False),
    sa.Column('sha256', sa.String(length=64), nullable=False, comment='of the document in its canonical form'),
    sa.Column('tests', sa.Integer(), nullable=False),
    sa.Column('samples', sa.Integer(), nullable=False, comment='tests with each of their prompts'),
    sa.Column('note', sa.String(length=2000), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('created_by', sa.String(length=200), nullable=False),
    sa.CheckConstraint('version >= 1', name=op.f('ck_suites_version')),
    sa.ForeignKeyConstraint(['project_id'], ['projects.id'], name=op.f('fk_suites_project_id')),
    sa.PrimaryKeyConstraint('project_id', 'name', 'version', name=op.f('pk_suites')),
    sa.UniqueConstraint('project_id', 'sha256', name=op.f('uq_suites_project_id_sha256'))
    )
    op.create_table('suite_adoptions',
    sa.Column('project_id', sa.String(length=63), nullable=False),
    sa.Column('number', sa.Integer(), autoincrement=False, nullable=False, comment='1, 2, 3 … within the project'),
    sa.Column('name', sa.String(length=128, collation='C'), nullable=False),
    sa.Column('stored_version', sa.Integer(), nullable=True, comment='null: the suite of the server, or dropped'),
    sa.Column('dropped', sa.Boolean(), nullable=False),
    sa.Column('reason', sa.String(length=500), nullable=False),
    sa.Column('by', sa.String(length=200), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.CheckConstraint('NOT dropped OR stored_version IS NULL', name=op.f('ck_suite_adoptions_dropped_has_no_version')),
    sa.ForeignKeyConstraint(['project_id', 'name', 'stored_version'], ['suites.project_id', 'suites.name', 'suites.version'], name=op.f('fk_suite_adoptions_project_id_name_stored_version')),
    sa.ForeignKeyConstraint(['project_id'], ['projects.id'], name=op.f('fk_suite_adoptions_project_id')),
    sa.PrimaryKeyConstraint('project_id', 'number', name=op.f('pk_suite_adoptions'))
    )
    op.create_index('ix_suite_adoptions_newest_of_each', 'suite_adoptions', ['project_id', 'name', 'number'])
    for table in APPEND_ONLY:
        op.execute(f"CREATE TRIGGER refuse_update BEFORE UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION refuse_update()")
    op.add_column('runs', sa.Column('suites', postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'"), nullable=False, comment='name, version and sha256 of each suite that its evaluation runs'))


def downgrade() -> None:
    op.drop_column('runs', 'suites')
    op.drop_table('suite_adoptions')
    op.drop_table('suites')
