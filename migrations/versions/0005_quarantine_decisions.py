"""What operators decided of actors in quarantine

Revision ID: 0005
Revises: 0004
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = '0005'
down_revision: str | None = '0004'
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table('quarantine_decisions',
    sa.Column('project_id', sa.String(length=63), nullable=False),
    sa.Column('number', sa.Integer(), autoincrement=False, nullable=False, comment='1, 2, 3 … within the project'),
    sa.Column('actor', sa.String(length=128, collation='C'), nullable=False),
    sa.Column('decision', sa.String(length=16), nullable=False),
    sa.Column('reason', sa.String(length=500), nullable=False),
    sa.Column('by', sa.String(length=200), nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), nullable=False),
    sa.CheckConstraint("decision IN ('released', 'confirmed')", name=op.f('ck_quarantine_decisions_decision')),
    sa.ForeignKeyConstraint(['project_id'], ['projects.id'], name=op.f('fk_quarantine_decisions_project_id')),
    sa.PrimaryKeyConstraint('project_id', 'number', name=op.f('pk_quarantine_decisions'))
    )
    op.create_index('ix_quarantine_decisions_project_id_actor_number', 'quarantine_decisions', ['project_id', 'actor', 'number'], unique=False)
    op.execute("CREATE TRIGGER refuse_update BEFORE UPDATE OR DELETE ON quarantine_decisions FOR EACH ROW EXECUTE FUNCTION refuse_update()")


def downgrade() -> None:
    op.drop_table('quarantine_decisions')
