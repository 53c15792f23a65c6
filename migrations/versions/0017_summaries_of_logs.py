"""What the loop found in a log, so that no request reads it; quick ways to one actor's events and to preferences

Revision ID: 0017
Revises: 0015
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = '0017'
down_revision: str | None = '0015'
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

#: Name, columns and condition of each new index of events.
INDEXES = (
    ('ix_events_project_id_actor_position', 'project_id, actor, position', ''),
    ('ix_events_project_id_rejected', """project_id, ((signal ->> 'rejected_completion_id') COLLATE "C")""", """WHERE signal ->> 'kind' = 'preference'"""),
)
CHILDREN = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = '{}'::regclass ORDER BY 1"


def upgrade() -> None:
    _index_events()
    op.create_table('log_summaries',
    sa.Column('project_id', sa.String(length=63), nullable=False),
    sa.Column('watermark', sa.BigInteger(), nullable=False),
    sa.Column('policy_sha256', sa.String(), nullable=False),
    sa.Column('decisions', sa.Integer(), nullable=False, comment='quarantine decisions that were taken by then'),
    sa.Column('erasures', sa.Integer(), nullable=False, comment='erasures that were counted by then'),
    sa.Column('as_of', sa.DateTime(timezone=True), nullable=False, comment='receipt of the newest event'),
    sa.Column('rating_median', sa.Double(), nullable=True),
    sa.Column('seconds', sa.Double(), nullable=False, comment='duration of the reading'),
    sa.Column('read_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['project_id'], ['projects.id'], name=op.f('fk_log_summaries_project_id')),
    sa.PrimaryKeyConstraint('project_id', name=op.f('pk_log_summaries'))
    )
    op.create_table('checkpoint_approvals',
    sa.Column('project_id', sa.String(length=63), nullable=False),
    sa.Column('checkpoint_id', sa.UUID(), nullable=False),
    sa.Column('desirable', sa.BigInteger(), nullable=False),
    sa.Column('undesirable', sa.BigInteger(), nullable=False),
    sa.ForeignKeyConstraint(['project_id'], ['projects.id'], name=op.f('fk_checkpoint_approvals_project_id')),
    sa.PrimaryKeyConstraint('project_id', 'checkpoint_id', name=op.f('pk_checkpoint_approvals'))
    )
    op.create_table('actor_findings',
    sa.Column('project_id', sa.String(length=63), nullable=False),
    sa.Column('actor', sa.String(length=128, collation='C'), nullable=False),
    sa.Column('findings', postgresql.JSONB(astext_type=sa.Text()), nullable=False),
    sa.ForeignKeyConstraint(['project_id'], ['projects.id'], name=op.f('fk_actor_findings_project_id')),
    sa.PrimaryKeyConstraint('project_id', 'actor', name=op.f('pk_actor_findings'))
    )


def downgrade() -> None:
    for name, _, _ in INDEXES:
        op.execute(f"DROP INDEX IF EXISTS {name}")
    op.drop_table('actor_findings')
    op.drop_table('checkpoint_approvals')
    op.drop_table('log_summaries')


def _index_events() -> None:
    """Makes the indexes of each month in turn, without keeping writers waiting; may be cut off and begun again."""
    with op.get_context().autocommit_block():
        for name, columns, condition in INDEXES:
            op.execute(f"CREATE INDEX IF NOT EXISTS {name} ON ONLY events ({columns}) {condition}")
            attached = set(_names(CHILDREN.format(name)))
            for month in _names(CHILDREN.format('events')):
                own = f"{month}_{name.removeprefix('ix_events_project_id_')}"
                if own not in attached:
                    op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {own}")  # a half-made one
                    op.execute(f"CREATE INDEX CONCURRENTLY {own} ON {month} ({columns}) {condition}")
                    op.execute(f"ALTER INDEX {name} ATTACH PARTITION {own}")


def _names(query: str) -> list[str]:
    return list(op.get_bind().execute(sa.text(query)).scalars())
