"""Completions that are messages, such as tool calls

Revision ID: 0039
Revises: 0038
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = '0039'
down_revision: str | None = "0038"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

COMMENT = "the completion as it was sent, where that was a message of more than a text; completion is its text"


def upgrade() -> None:
    for table in ("events", "completions"):
        column = sa.Column("message", postgresql.JSON(astext_type=sa.Text()), nullable=True, comment=COMMENT)
        op.add_column(table, column)


def downgrade() -> None:
    for table in ("events", "completions"):
        op.drop_column(table, "message")
