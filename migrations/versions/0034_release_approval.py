"""Labels and exposures of each release, and automatic rollbacks

Revision ID: 0034
Revises: 0033
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = '0034'
down_revision: str | None = "0033"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column('releases', sa.Column('decision', postgresql.JSONB(astext_type=sa.Text()), nullable=True, comment="of the rule of automatic rollback, with its figures; null: a person's"))
    op.create_check_constraint('decision_takes_back', 'releases', "decision IS NULL OR action IN ('end_canary', 'rollback')")
    op.create_table('exposures',
    sa.Column('project_id', sa.String(length=63), nullable=False),
    sa.Column('release_number', sa.Integer(), nullable=False),
    sa.Column('key', sa.String(length=128, collation='C'), nullable=False, comment='of the metadata; empty: all completions of the release'),
    sa.Column('value', sa.String(length=128, collation='C'), nullable=False, comment='empty: none'),
    sa.Column('completions', sa.BigInteger(), nullable=False),
    sa.ForeignKeyConstraint(['project_id'], ['projects.id'], name=op.f('fk_exposures_project_id')),
    sa.PrimaryKeyConstraint('project_id', 'release_number', 'key', 'value', name=op.f('pk_exposures'))
    )
    op.create_table('counted_exposures',
    sa.Column('project_id', sa.String(length=63), nullable=False),
    sa.Column('position', sa.BigInteger(), nullable=False),
    sa.Column('keys', postgresql.JSONB(astext_type=sa.Text()), nullable=False, comment='of the metadata, by which they are told apart'),
    sa.Column('complete', sa.Boolean(), nullable=False, comment='whether these were all completions'),
    sa.ForeignKeyConstraint(['project_id'], ['projects.id'], name=op.f('fk_counted_exposures_project_id')),
    sa.PrimaryKeyConstraint('project_id', name=op.f('pk_counted_exposures'))
    )
    op.create_table('release_readings',
    sa.Column('project_id', sa.String(length=63), nullable=False),
    sa.Column('watermark', sa.BigInteger(), nullable=False),
    sa.Column('ledger', sa.Integer(), nullable=False, comment='number of the newest release'),
    sa.Column('keys', postgresql.JSONB(astext_type=sa.Text()), nullable=False, comment='of the metadata, by which completions are told apart'),
    sa.Column('comparisons', postgresql.JSONB(astext_type=sa.Text()), nullable=False),
    sa.Column('read_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['project_id'], ['projects.id'], name=op.f('fk_release_readings_project_id')),
    sa.PrimaryKeyConstraint('project_id', name=op.f('pk_release_readings'))
    )
    op.create_table('release_labels',
    sa.Column('project_id', sa.String(length=63), nullable=False),
    sa.Column('release_number', sa.Integer(), nullable=False),
    sa.Column('desirable', sa.BigInteger(), nullable=False),
    sa.Column('undesirable', sa.BigInteger(), nullable=False),
    sa.Column('voted', sa.BigInteger(), nullable=False, comment='labelled completions that are registered'),
    sa.Column('reasons', postgresql.JSONB(astext_type=sa.Text()), nullable=False),
    sa.Column('drift', postgresql.JSONB(astext_type=sa.Text()), nullable=True, comment='distance of the mix of reasons from that of the release before'),
    sa.Column('segments', postgresql.JSONB(astext_type=sa.Text()), nullable=False, comment='by key of the metadata'),
    sa.ForeignKeyConstraint(['project_id'], ['projects.id'], name=op.f('fk_release_labels_project_id')),
    sa.PrimaryKeyConstraint('project_id', 'release_number', name=op.f('pk_release_labels'))
    )
    op.create_table('rollback_failures',
    sa.Column('project_id', sa.String(length=63), nullable=False),
    sa.Column('ledger', sa.Integer(), nullable=False, comment='number of the newest release then'),
    sa.Column('message', sa.String(), nullable=False),
    sa.Column('failed_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['project_id'], ['projects.id'], name=op.f('fk_rollback_failures_project_id')),
    sa.PrimaryKeyConstraint('project_id', name=op.f('pk_rollback_failures'))
    )


def downgrade() -> None:
    for table in ('rollback_failures', 'release_labels', 'release_readings', 'counted_exposures', 'exposures'):
        op.drop_table(table)
    # An automatic rollback stays in the ledger with its reason.
    op.drop_constraint(op.f('ck_releases_decision_takes_back'), 'releases', type_='check')
    op.drop_column('releases', 'decision')
