"""Uploaded imports and their rejected records

Revision ID: 0042
Revises: 0041
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = '0042'
down_revision: str | None = "0041"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table('imports',
    sa.Column('id', sa.UUID(), nullable=False),
    sa.Column('project_id', sa.String(length=63), nullable=False),
    sa.Column('name', sa.String(length=200), nullable=False),
    sa.Column('size', sa.BigInteger(), nullable=False),
    sa.Column('sha256', sa.String(length=64), nullable=False),
    sa.Column('fingerprint', sa.String(length=64), nullable=False, comment='of content and options: equal ones are one import'),
    sa.Column('options', postgresql.JSONB(astext_type=sa.Text()), nullable=False, comment='wire.ImportOptions'),
    sa.Column('limits', postgresql.JSONB(astext_type=sa.Text()), nullable=False, comment='of the key, in events a minute: name, of, quota'),
    sa.Column('dry_run', sa.Boolean(), nullable=False),
    sa.Column('state', sa.String(length=16), nullable=False),
    sa.Column('reason', sa.String(), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('created_by', sa.String(length=200), nullable=False),
    sa.Column('started_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('finished_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('file_kept', sa.Boolean(), nullable=False, comment='whether the store may still have the file'),
    sa.Column('files_done', sa.Integer(), nullable=False, comment='members of an archive; 1: a file alone'),
    sa.Column('items_done', sa.BigInteger(), nullable=False, comment='of the file after those'),
    sa.Column('rows', sa.BigInteger(), nullable=False, comment='items of all files that were dealt with'),
    sa.Column('bytes_done', sa.BigInteger(), nullable=False),
    sa.Column('outcomes', postgresql.JSONB(astext_type=sa.Text()), nullable=False, comment='by file, as ImportOutcome.document'),
    sa.Column('rejects', sa.Integer(), nullable=False, comment='rows of import_rejects'),
    sa.Column('counted_at', sa.DateTime(timezone=True), nullable=True, comment="by Postgres's clock: what the log got later is not counted yet"),
    sa.Column('attempts', sa.Integer(), nullable=False, comment='claims since the last progress'),
    sa.Column('next_try_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('rung_at', sa.DateTime(timezone=True), nullable=True, comment='when workers were last asked to look at it'),
    sa.Column('lease_owner', sa.String(length=200), nullable=True),
    sa.Column('lease_epoch', sa.Integer(), nullable=False),
    sa.Column('lease_expires_at', sa.DateTime(timezone=True), nullable=True),
    sa.CheckConstraint("state IN ('queued', 'running', 'done', 'failed', 'cancelled')", name=op.f('ck_imports_state')),
    sa.CheckConstraint("(finished_at IS NULL) = (state IN ('queued', 'running'))", name=op.f('ck_imports_ends')),
    sa.ForeignKeyConstraint(['project_id'], ['projects.id'], name=op.f('fk_imports_project_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_imports'))
    )
    op.create_index('ix_imports_project_id_id', 'imports', ['project_id', 'id'], unique=False)
    op.create_index('ix_imports_unfinished', 'imports', ['next_try_at'], unique=False, postgresql_where=sa.text('finished_at IS NULL'))
    op.create_index('ix_imports_file_kept', 'imports', ['finished_at'], unique=False, postgresql_where=sa.text('file_kept'))
    op.create_index('ix_imports_one_per_fingerprint', 'imports', ['project_id', 'fingerprint'], unique=True, postgresql_where=sa.text("state NOT IN ('failed', 'cancelled')"))
    op.create_table('import_rejects',
    sa.Column('import_id', sa.UUID(), nullable=False),
    sa.Column('number', sa.Integer(), nullable=False, comment='from 1'),
    sa.Column('file', sa.String(), nullable=False),
    sa.Column('unit', sa.String(length=8), nullable=False),
    sa.Column('line', sa.BigInteger(), nullable=False),
    sa.Column('reason', sa.String(), nullable=False),
    sa.ForeignKeyConstraint(['import_id'], ['imports.id'], name=op.f('fk_import_rejects_import_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('import_id', 'number', name=op.f('pk_import_rejects'))
    )


def downgrade() -> None:
    op.drop_table('import_rejects')
    op.drop_table('imports')
