"""Audits of labels: samples, and what people said of them.

Revision ID: 0006
Revises: 0005
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = '0006'
down_revision: str | None = '0005'
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table('label_audits',
    sa.Column('id', sa.UUID(), nullable=False),
    sa.Column('project_id', sa.String(length=63), nullable=False),
    sa.Column('watermark', sa.BigInteger(), nullable=False, comment='last event whose labels it was drawn from'),
    sa.Column('policy_name', sa.String(length=128), nullable=False),
    sa.Column('policy_version', sa.Integer(), nullable=False),
    sa.Column('policy_sha256', sa.String(length=64), nullable=False),
    sa.Column('labelling_sha256', sa.String(length=64), nullable=False, comment='of that part of the policy which decides labels: what it asks of audits is not in it'),
    sa.Column('seed', sa.BigInteger(), nullable=False),
    sa.Column('per_class', sa.Integer(), nullable=False),
    sa.Column('rows_desirable', sa.BigInteger(), nullable=False, comment='of which it was drawn'),
    sa.Column('rows_undesirable', sa.BigInteger(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('created_by', sa.String(length=200), nullable=False),
    sa.ForeignKeyConstraint(['project_id'], ['projects.id'], name=op.f('fk_label_audits_project_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_label_audits'))
    )
    op.create_index('ix_label_audits_project_id_id', 'label_audits', ['project_id', 'id'], unique=False)
    op.create_table('label_audit_items',
    sa.Column('audit_id', sa.UUID(), nullable=False),
    sa.Column('number', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('completion_id', sa.String(collation='C'), nullable=False),
    sa.Column('prompt', postgresql.JSON(astext_type=sa.Text()), nullable=False),
    sa.Column('completion', sa.String(), nullable=False),
    sa.Column('label', sa.Boolean(), nullable=False, comment='true: desirable'),
    sa.Column('weight', sa.Float(), nullable=False),
    sa.Column('reason', sa.String(), nullable=False),
    sa.Column('checkpoint_id', sa.UUID(), nullable=True),
    sa.Column('suspicion', sa.Float(), nullable=True),
    sa.ForeignKeyConstraint(['audit_id'], ['label_audits.id'], name=op.f('fk_label_audit_items_audit_id')),
    sa.PrimaryKeyConstraint('audit_id', 'number', name=op.f('pk_label_audit_items'))
    )
    op.create_table('label_audit_verdicts',
    sa.Column('audit_id', sa.UUID(), nullable=False),
    sa.Column('number', sa.Integer(), nullable=False),
    sa.Column('revision', sa.Integer(), autoincrement=False, nullable=False),
    sa.Column('verdict', sa.String(length=16), nullable=False),
    sa.Column('note', sa.String(length=500), nullable=False),
    sa.Column('by', sa.String(length=200), nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), nullable=False),
    sa.CheckConstraint("verdict IN ('agree', 'disagree', 'unsure')", name=op.f('ck_label_audit_verdicts_verdict')),
    sa.ForeignKeyConstraint(['audit_id', 'number'], ['label_audit_items.audit_id', 'label_audit_items.number'], name='fk_label_audit_verdicts_item'),
    sa.PrimaryKeyConstraint('audit_id', 'number', 'revision', name=op.f('pk_label_audit_verdicts'))
    )
    op.create_table('label_suspicions',
    sa.Column('project_id', sa.String(length=63), nullable=False),
    sa.Column('completion_id', sa.String(collation='C'), nullable=False),
    sa.Column('label', sa.Boolean(), nullable=False, comment='the one that is suspected; a completion may have another by now'),
    sa.Column('suspicion', sa.Float(), nullable=False),
    sa.Column('checkpoint_id', sa.UUID(), nullable=False),
    sa.ForeignKeyConstraint(['checkpoint_id'], ['checkpoints.id'], name=op.f('fk_label_suspicions_checkpoint_id')),
    sa.ForeignKeyConstraint(['project_id'], ['projects.id'], name=op.f('fk_label_suspicions_project_id')),
    sa.PrimaryKeyConstraint('project_id', 'completion_id', name=op.f('pk_label_suspicions'))
    )
    op.create_index('ix_label_suspicions_checkpoint_id', 'label_suspicions', ['checkpoint_id'], unique=False)


def downgrade() -> None:
    op.drop_index('ix_label_suspicions_checkpoint_id', table_name='label_suspicions')
    op.drop_table('label_suspicions')
    op.drop_table('label_audit_verdicts')
    op.drop_table('label_audit_items')
    op.drop_index('ix_label_audits_project_id_id', table_name='label_audits')
    op.drop_table('label_audits')
