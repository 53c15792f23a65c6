"""Dropped rows of a run, by reason

Revision ID: 0019
Revises: 0017
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = '0019'
down_revision: str | None = '0017'
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column('runs', sa.Column('dropped_rows', postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'[]'"), nullable=False, comment='rows that it does not train on or score, by reason'))


def downgrade() -> None:
    op.drop_column('runs', 'dropped_rows')
