"""Events that were imported say so

Revision ID: 0022
Revises: 0021
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = '0022'
down_revision: str | None = '0021'
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    # Null in every row that there is, which takes no time.
    op.add_column('events', sa.Column('origin', sa.String(length=16), nullable=True, comment='import: copied from elsewhere, the time of the receipt says nothing; null: sent as it happened'))
    # Worked out again by the loop: comparisons and times mean something else to labels and guards now.
    for table in ('actor_findings', 'checkpoint_approvals', 'log_summaries'):
        op.execute(f'DELETE FROM {table}')


def downgrade() -> None:
    op.drop_column('events', 'origin')
