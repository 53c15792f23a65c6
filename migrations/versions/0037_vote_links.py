"""Secrets that sign vote links, and revoked vote links

Revision ID: 0037
Revises: 0036
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = '0037'
down_revision: str | None = "0036"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table('vote_link_secrets',
    sa.Column('project_id', sa.String(length=63), nullable=False),
    sa.Column('number', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('secret', sa.LargeBinary(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('valid_until', sa.DateTime(timezone=True), nullable=True),
    sa.ForeignKeyConstraint(['project_id'], ['projects.id'], name=op.f('fk_vote_link_secrets_project_id')),
    sa.PrimaryKeyConstraint('project_id', 'number', name=op.f('pk_vote_link_secrets'))
    )
    op.create_index('uq_vote_link_secrets_current', 'vote_link_secrets', ['project_id'], unique=True, postgresql_where=sa.text('valid_until IS NULL'))
    op.create_table('revoked_vote_links',
    sa.Column('project_id', sa.String(length=63), nullable=False),
    sa.Column('link_id', sa.UUID(), nullable=False),
    sa.Column('revoked_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['project_id'], ['projects.id'], name=op.f('fk_revoked_vote_links_project_id')),
    sa.PrimaryKeyConstraint('project_id', 'link_id', name=op.f('pk_revoked_vote_links'))
    )


def downgrade() -> None:
    # Without its secret no link is genuine, so none comes back to life after another upgrade.
    op.drop_table('revoked_vote_links')
    op.drop_table('vote_link_secrets')
