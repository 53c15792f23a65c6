"""Browser keys, limits and rotation of keys, and when each was last used

Revision ID: 0036
Revises: 0035
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = '0036'
down_revision: str | None = "0035"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column('api_keys', sa.Column('previous_sha256', sa.LargeBinary(), nullable=True))
    op.add_column('api_keys', sa.Column('previous_until', sa.DateTime(timezone=True), nullable=True))
    op.add_column('api_keys', sa.Column('origins', postgresql.ARRAY(sa.String(length=255)), server_default=sa.text("'{}'"), nullable=False, comment='of pages that may use it; empty: it is no browser key'))
    op.add_column('api_keys', sa.Column('limits', postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False))
    op.add_column('api_keys', sa.Column('last_used_at', sa.DateTime(timezone=True), nullable=True))
    op.create_unique_constraint(op.f('uq_api_keys_previous_sha256'), 'api_keys', ['previous_sha256'])
    op.create_check_constraint('harmless_in_a_browser', 'api_keys', "origins = '{}' OR (project_id IS NOT NULL AND scopes = '{feedback:write}')")
    op.create_check_constraint('previous_secret_has_an_end', 'api_keys', "(previous_sha256 IS NULL) = (previous_until IS NULL)")


def downgrade() -> None:
    # The code before would give a browser key every call of its scope, from any page or program.
    op.execute("UPDATE api_keys SET revoked_at = coalesce(revoked_at, now()) WHERE origins <> '{}'")
    op.drop_constraint(op.f('ck_api_keys_previous_secret_has_an_end'), 'api_keys', type_='check')
    op.drop_constraint(op.f('ck_api_keys_harmless_in_a_browser'), 'api_keys', type_='check')
    op.drop_constraint(op.f('uq_api_keys_previous_sha256'), 'api_keys', type_='unique')
    for column in ('last_used_at', 'limits', 'origins', 'previous_until', 'previous_sha256'):
        op.drop_column('api_keys', column)
