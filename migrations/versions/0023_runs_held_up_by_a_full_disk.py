"""Runs wait while a disk is full

Revision ID: 0023
Revises: 0022
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = '0023'
down_revision: str | None = '0022'
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    # Null in every row that there is, which takes no time.
    op.add_column('runs', sa.Column('held_up_since', sa.DateTime(timezone=True), nullable=True, comment='when a full disk first stopped it where it is'))
    op.add_column('runs', sa.Column('held_up_by', sa.String(), nullable=True, comment='which disk that is'))
    op.add_column('runs', sa.Column('next_attempt_at', sa.DateTime(timezone=True), nullable=True, comment='no worker may have it before'))


def downgrade() -> None:
    for column in ('next_attempt_at', 'held_up_by', 'held_up_since'):
        op.drop_column('runs', column)
