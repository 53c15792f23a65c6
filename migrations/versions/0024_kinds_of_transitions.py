"""Kind and attempt of each transition of a run; states that fit together

Revision ID: 0024
Revises: 0023
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = '0024'
down_revision: str | None = '0023'
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

STATES = "('queued', 'snapshotting', 'referencing', 'training', 'evaluating', 'succeeded', 'failed', 'cancelling', 'cancelled')"
ENDED = "('succeeded', 'failed', 'cancelled')"
KINDS = (
    "('requested', 'waits', 'turn', 'claimed', 'taken_over', 'moved', 'shrunk', 'noted', 'paused', 'resumed', 'cancelling', "
    "'returned', 'held_up', 'silent', 'lost', 'given_up', 'ended')"
)

#: The sentences that earlier versions wrote.
KIND = f"""
    CASE
        WHEN from_state IS NULL AND reason ~ '; it waits behind run [0-9a-f-]{{36}}$' THEN 'waits'
        WHEN from_state IS NULL THEN 'requested'
        WHEN to_state = 'failed' AND reason ~ '^given up after [0-9]+ lost attempts, the last one: ' THEN 'given_up'
        WHEN to_state IN {ENDED} THEN 'ended'
        WHEN to_state = 'cancelling' AND from_state <> to_state THEN 'cancelling'
        WHEN reason ~ '^claimed(, attempt [1-9][0-9]*)?$' THEN 'claimed'
        WHEN from_state <> to_state THEN 'moved'
        WHEN reason = 'its turn has come' THEN 'turn'
        WHEN reason = 'paused by ' || "by" THEN 'paused'
        WHEN reason = 'resumed by ' || "by" THEN 'resumed'
        WHEN reason IN ('given back', 'given back, as it is paused') THEN 'returned'
        WHEN reason ~ '^given back, as .* is full: ' THEN 'held_up'
        WHEN reason ~ '^worker .* fell silent; it is (tried again|paused)$' THEN 'silent'
        WHEN reason ~ '; it is tried again$' THEN 'lost'
        WHEN reason ~ '^memory ran out ' THEN 'shrunk'
        WHEN reason ~ '^goes on from the saved state of run [0-9a-f-]{{36}}$' THEN 'taken_over'
        ELSE 'noted'
    END
"""


def upgrade() -> None:
    op.add_column('run_transitions', sa.Column('kind', sa.String(length=16), nullable=True, comment='what happened, for programs'))
    op.add_column('run_transitions', sa.Column('attempt', sa.Integer(), nullable=True, comment='that it concerns; null before the first claim'))
    op.execute("ALTER TABLE run_transitions DISABLE TRIGGER refuse_update")
    # A row concerns the newest attempt that was claimed by then.
    op.execute(f"""
        WITH kinds AS (SELECT id, run_id, reason, {KIND} AS kind FROM run_transitions),
        filled AS (
            SELECT id, kind, max(CASE WHEN kind = 'claimed' THEN coalesce(substring(reason FROM '[0-9]+$')::integer, 1) END)
                OVER (PARTITION BY run_id ORDER BY id) AS attempt
            FROM kinds
        )
        UPDATE run_transitions SET kind = filled.kind, attempt = filled.attempt FROM filled WHERE run_transitions.id = filled.id
    """)
    op.execute("ALTER TABLE run_transitions ENABLE TRIGGER refuse_update")
    op.alter_column('run_transitions', 'kind', existing_type=sa.String(length=16), nullable=False)
    op.create_check_constraint(op.f('ck_run_transitions_kind'), 'run_transitions', f'kind IN {KINDS}')
    op.create_check_constraint(op.f('ck_run_transitions_begins'), 'run_transitions', "(from_state IS NULL) = (kind IN ('requested', 'waits'))")
    op.create_check_constraint(op.f('ck_run_transitions_ends'), 'run_transitions', f"(to_state IN {ENDED}) = (kind IN ('ended', 'given_up'))")
    op.create_check_constraint(op.f('ck_run_transitions_attempt'), 'run_transitions', 'attempt > 0')
    op.create_check_constraint(op.f('ck_run_transitions_claimed_attempt'), 'run_transitions', "kind <> 'claimed' OR attempt IS NOT NULL")
    # Rows that no version writes, which somebody may have changed by hand: a worker or the reaper takes them from here.
    op.execute("UPDATE runs SET lease_owner = NULL, lease_expires_at = NULL WHERE (lease_owner IS NULL) <> (lease_expires_at IS NULL)")
    op.execute(f"UPDATE runs SET lease_owner = NULL, lease_expires_at = NULL WHERE lease_owner IS NOT NULL AND (state = 'queued' OR state IN {ENDED})")
    op.execute("UPDATE runs SET lease_owner = 'nobody', lease_expires_at = now() WHERE state = 'cancelling' AND lease_owner IS NULL")
    op.execute(f"UPDATE runs SET paused = false WHERE paused AND (state = 'cancelling' OR state IN {ENDED})")
    op.create_check_constraint(op.f('ck_runs_state'), 'runs', f'state IN {STATES}')
    op.create_check_constraint(op.f('ck_runs_whole_lease'), 'runs', '(lease_owner IS NULL) = (lease_expires_at IS NULL)')
    op.create_check_constraint(op.f('ck_runs_held_is_claimed'), 'runs', "lease_owner IS NULL OR state IN ('snapshotting', 'referencing', 'training', 'evaluating', 'cancelling')")
    op.create_check_constraint(op.f('ck_runs_cancelling_is_held'), 'runs', "state <> 'cancelling' OR lease_owner IS NOT NULL")
    op.create_check_constraint(op.f('ck_runs_paused_goes_on'), 'runs', "NOT paused OR state IN ('queued', 'snapshotting', 'referencing', 'training', 'evaluating')")


def downgrade() -> None:
    for name in ('paused_goes_on', 'cancelling_is_held', 'held_is_claimed', 'whole_lease', 'state'):
        op.drop_constraint(op.f(f'ck_runs_{name}'), 'runs', type_='check')
    for name in ('claimed_attempt', 'attempt', 'ends', 'begins', 'kind'):
        op.drop_constraint(op.f(f'ck_run_transitions_{name}'), 'run_transitions', type_='check')
    op.drop_column('run_transitions', 'attempt')
    op.drop_column('run_transitions', 'kind')
