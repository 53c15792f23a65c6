"""Redactions of snapshots; what is kept of edits, and of readiness

Revision ID: 0008
Revises: 0007
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = '0008'
down_revision: str | None = '0007'
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table('edit_comparisons',
    sa.Column('project_id', sa.String(length=63), nullable=False),
    sa.Column('position', sa.BigInteger(), autoincrement=False, nullable=False, comment='of the edit'),
    sa.Column('original', sa.BigInteger(), nullable=False, comment="position of what carries the original's text"),
    sa.Column('alike', sa.Double(), nullable=False),
    sa.Column('change', sa.SmallInteger(), nullable=False),
    sa.Column('long', sa.Boolean(), nullable=False),
    sa.Column('key', sa.LargeBinary(), nullable=False, comment="stands for the edit's text"),
    sa.ForeignKeyConstraint(['project_id'], ['projects.id'], name=op.f('fk_edit_comparisons_project_id')),
    sa.PrimaryKeyConstraint('project_id', 'position', name=op.f('pk_edit_comparisons'))
    )
    op.create_table('readiness',
    sa.Column('project_id', sa.String(length=63), nullable=False),
    sa.Column('basis', postgresql.JSONB(astext_type=sa.Text()), nullable=False, comment='all that it rests on: the same again finds the same'),
    sa.Column('found', postgresql.JSONB(astext_type=sa.Text()), nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['project_id'], ['projects.id'], name=op.f('fk_readiness_project_id')),
    sa.PrimaryKeyConstraint('project_id', name=op.f('pk_readiness'))
    )
    op.create_table('prompts_placed',
    sa.Column('project_id', sa.String(length=63), nullable=False),
    sa.Column('position', sa.BigInteger(), nullable=False),
    sa.ForeignKeyConstraint(['project_id'], ['projects.id'], name=op.f('fk_prompts_placed_project_id')),
    sa.PrimaryKeyConstraint('project_id', name=op.f('pk_prompts_placed'))
    )
    op.create_table('prompt_leaders',
    sa.Column('project_id', sa.String(length=63), nullable=False),
    sa.Column('number', sa.Integer(), autoincrement=False, nullable=False, comment='0, 1, 2 …'),
    sa.Column('leader', sa.LargeBinary(), nullable=False, comment='key of the prompt'),
    sa.Column('bands', sa.LargeBinary(), nullable=False),
    sa.Column('said', sa.LargeBinary(), nullable=False),
    sa.Column('system', sa.LargeBinary(), nullable=False),
    sa.ForeignKeyConstraint(['project_id'], ['projects.id'], name=op.f('fk_prompt_leaders_project_id')),
    sa.PrimaryKeyConstraint('project_id', 'number', name=op.f('pk_prompt_leaders'))
    )
    op.create_table('led_prompts',
    sa.Column('project_id', sa.String(length=63), nullable=False),
    sa.Column('key', sa.LargeBinary(), nullable=False),
    sa.Column('leader', sa.LargeBinary(), nullable=False),
    sa.ForeignKeyConstraint(['project_id'], ['projects.id'], name=op.f('fk_led_prompts_project_id')),
    sa.PrimaryKeyConstraint('project_id', 'key', name=op.f('pk_led_prompts'))
    )
    op.create_table('snapshot_redactions',
    sa.Column('snapshot_id', sa.UUID(), nullable=False),
    sa.Column('successor_id', sa.UUID(), nullable=True, comment='null: no row is left'),
    sa.Column('erasure_id', sa.Uuid(), nullable=False),
    sa.Column('rows', sa.Integer(), nullable=False, comment='that are not in the successor'),
    sa.Column('shards', postgresql.JSONB(astext_type=sa.Text()), nullable=False, comment='files that were written anew'),
    sa.Column('redacted_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['snapshot_id'], ['snapshots.id'], name=op.f('fk_snapshot_redactions_snapshot_id')),
    sa.ForeignKeyConstraint(['successor_id'], ['snapshots.id'], name=op.f('fk_snapshot_redactions_successor_id')),
    sa.PrimaryKeyConstraint('snapshot_id', name=op.f('pk_snapshot_redactions'))
    )
    op.execute("CREATE TRIGGER refuse_update BEFORE UPDATE ON snapshot_redactions FOR EACH ROW EXECUTE FUNCTION refuse_update()")


def downgrade() -> None:
    op.drop_table('snapshot_redactions')
    op.drop_table('led_prompts')
    op.drop_table('prompt_leaders')
    op.drop_table('prompts_placed')
    op.drop_table('readiness')
    op.drop_table('edit_comparisons')
