"""Conversations: ids that are sent, and prompt groups that belong together

Revision ID: 0021
Revises: 0020
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = '0021'
down_revision: str | None = '0020'
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    for table in ('events', 'completions'):
        op.add_column(table, sa.Column('conversation_id', sa.String(length=128, collation='C'), nullable=True))
    op.create_table('conversation_links',
    sa.Column('project_id', sa.String(length=63), nullable=False),
    sa.Column('link', sa.LargeBinary(), nullable=False),
    sa.Column('leader', sa.LargeBinary(), nullable=False, comment='key of the prompt that leads the group'),
    sa.Column('position', sa.BigInteger(), nullable=False, comment='of the prompt that had it first'),
    sa.Column('joins', sa.Integer(), nullable=False, comment='prompt groups that it has joined with the first one'),
    sa.ForeignKeyConstraint(['project_id'], ['projects.id'], name=op.f('fk_conversation_links_project_id')),
    sa.PrimaryKeyConstraint('project_id', 'link', name=op.f('pk_conversation_links'))
    )
    op.create_table('conversation_joins',
    sa.Column('project_id', sa.String(length=63), nullable=False),
    sa.Column('leader', sa.LargeBinary(), nullable=False),
    sa.Column('other', sa.LargeBinary(), nullable=False),
    sa.Column('position', sa.BigInteger(), nullable=False, comment='of the prompt that joined them'),
    sa.Column('earlier', sa.BigInteger(), nullable=False, comment='of the prompt that the link came from'),
    sa.ForeignKeyConstraint(['project_id'], ['projects.id'], name=op.f('fk_conversation_joins_project_id')),
    sa.PrimaryKeyConstraint('project_id', 'leader', 'other', name=op.f('pk_conversation_joins'))
    )
    op.create_table('conversation_strays',
    sa.Column('project_id', sa.String(length=63), nullable=False),
    sa.Column('row', sa.LargeBinary(), nullable=False, comment='key of its answer or its completion id'),
    sa.Column('prompt', sa.LargeBinary(), nullable=False, comment='its key'),
    sa.Column('link', sa.LargeBinary(), nullable=False, comment='of its conversation'),
    sa.Column('position', sa.BigInteger(), nullable=False),
    sa.ForeignKeyConstraint(['project_id'], ['projects.id'], name=op.f('fk_conversation_strays_project_id')),
    sa.PrimaryKeyConstraint('project_id', 'row', name=op.f('pk_conversation_strays'))
    )
    # The next snapshot looks through the log again: the groups stay as they are, their conversations become known.
    op.execute("UPDATE prompts_placed SET position = 0")


def downgrade() -> None:
    for table in ('conversation_strays', 'conversation_joins', 'conversation_links'):
        op.drop_table(table)
    for table in ('completions', 'events'):
        op.drop_column(table, 'conversation_id')
