"""Versions of label policies, and which one is adopted

Revision ID: 0004
Revises: 0003
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = '0004'
down_revision: str | None = '0003'
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

APPEND_ONLY = ("label_policies", "label_policy_adoptions")


def upgrade() -> None:
    op.create_table('label_policies',
    sa.Column('project_id', sa.String(length=63), nullable=False),
    sa.Column('version', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('document', sa.JSON(), nullable=False),
    sa.Column('sha256', sa.String(length=64), nullable=False, comment='of the document in its canonical form'),
    sa.Column('note', sa.String(length=2000), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('created_by', sa.String(length=200), nullable=False),
    sa.CheckConstraint('version >= 1', name=op.f('ck_label_policies_version')),
    sa.ForeignKeyConstraint(['project_id'], ['projects.id'], name=op.f('fk_label_policies_project_id')),
    sa.PrimaryKeyConstraint('project_id', 'version', name=op.f('pk_label_policies')),
    sa.UniqueConstraint('project_id', 'sha256', name=op.f('uq_label_policies_project_id_sha256'))
    )
    op.create_table('label_policy_adoptions',
    sa.Column('project_id', sa.String(length=63), nullable=False),
    sa.Column('number', sa.Integer(), autoincrement=False, nullable=False, comment='1, 2, 3 … within the project'),
    sa.Column('stored_version', sa.Integer(), nullable=True, comment='null: the default of the server, version 0'),
    sa.Column('reason', sa.String(length=500), nullable=False),
    sa.Column('by', sa.String(length=200), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['project_id', 'stored_version'], ['label_policies.project_id', 'label_policies.version'], name=op.f('fk_label_policy_adoptions_project_id_stored_version')),
    sa.ForeignKeyConstraint(['project_id'], ['projects.id'], name=op.f('fk_label_policy_adoptions_project_id')),
    sa.PrimaryKeyConstraint('project_id', 'number', name=op.f('pk_label_policy_adoptions'))
    )
    for table in APPEND_ONLY:
        op.execute(f"CREATE TRIGGER refuse_update BEFORE UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION refuse_update()")


def downgrade() -> None:
    op.drop_table('label_policy_adoptions')
    op.drop_table('label_policies')
