"""Canaries in the ledger of releases

Revision ID: 0030
Revises: 0029
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = '0030'
down_revision: str | None = "0029"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

ACTIONS = "action IN ('start', 'ship', 'rollback')"
WITH_CANARIES = "action IN ('start', 'ship', 'rollback', 'canary', 'end_canary')"


def upgrade() -> None:
    op.add_column('releases', sa.Column('share', sa.Double(), nullable=True, comment='of actors that get a canary'))
    op.drop_constraint(op.f('ck_releases_action'), 'releases', type_='check')
    op.create_check_constraint('action', 'releases', WITH_CANARIES)
    op.create_check_constraint('share_of_canary', 'releases', "(action = 'canary') = (share IS NOT NULL)")
    op.create_check_constraint('share', 'releases', "share > 0 AND share < 1")


def downgrade() -> None:
    # What is live does not depend on canaries, and the older service cannot read them.
    op.execute("ALTER TABLE releases DISABLE TRIGGER USER")
    op.execute("DELETE FROM releases WHERE action IN ('canary', 'end_canary')")
    op.execute("ALTER TABLE releases ENABLE TRIGGER USER")
    op.drop_constraint(op.f('ck_releases_share'), 'releases', type_='check')
    op.drop_constraint(op.f('ck_releases_share_of_canary'), 'releases', type_='check')
    op.drop_constraint(op.f('ck_releases_action'), 'releases', type_='check')
    op.create_check_constraint('action', 'releases', ACTIONS)
    op.drop_column('releases', 'share')
