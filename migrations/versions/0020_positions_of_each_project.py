"""Positions in the log of each project on their own

Revision ID: 0020
Revises: 0019
"""

from collections.abc import Sequence

from alembic import op

revision: str = '0020'
down_revision: str | None = '0019'
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


#: Positions that are left out, as processes of the older version may write while sequences are made.
LEFT_OUT = 1_000_000
#: Sequences of one transaction: each holds a lock to the transaction's end, and Postgres has room for some thousands.
AT_ONCE = 500


def upgrade() -> None:
    """Whatever a failed attempt leaves is taken up by the next one."""
    # One sequence for all projects showed each of them how much the others store. The name is a hash, as project ids
    # may be as long as an identifier of Postgres.
    op.execute("""
        CREATE OR REPLACE FUNCTION log_sequence(project text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
            SELECT 'log_positions_' || left(encode(sha256(convert_to(project, 'UTF8')), 'hex'), 32)
        $$
    """)
    op.execute("""
        CREATE OR REPLACE FUNCTION begin_log() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            -- A sequence without a project is a remnant of a database that was emptied.
            EXECUTE format('DROP SEQUENCE IF EXISTS %I', log_sequence(NEW.id));
            EXECUTE format('CREATE SEQUENCE %I', log_sequence(NEW.id));
            RETURN NULL;
        END $$
    """)
    op.execute("DROP TABLE IF EXISTS pg_temp.log_start")
    op.execute(f"CREATE TEMPORARY TABLE log_start AS SELECT last_value + {LEFT_OUT} AS position FROM log_positions")
    with op.get_context().autocommit_block():
        op.execute(f"""
            DO $$
            DECLARE project text; start bigint; made integer := 0;
            BEGIN
                SELECT position INTO start FROM log_start;
                FOR project IN SELECT id FROM projects ORDER BY id LOOP
                    EXECUTE format('DROP SEQUENCE IF EXISTS %I', log_sequence(project));
                    EXECUTE format('CREATE SEQUENCE %I START %s', log_sequence(project), start);
                    made := made + 1;
                    IF made % {AT_ONCE} = 0 THEN COMMIT; END IF;
                END LOOP;
            END $$
        """)
    op.execute("LOCK TABLE projects, event_ids, completions IN SHARE ROW EXCLUSIVE MODE")
    op.execute("""
        DO $$
        DECLARE project text; start bigint;
        BEGIN
            SELECT position INTO start FROM log_start;
            IF (SELECT last_value FROM log_positions) >= start THEN
                RAISE EXCEPTION 'the log grew too fast while it was migrated: stop the older processes, then try again';
            END IF;
            FOR project IN SELECT id FROM projects WHERE to_regclass(log_sequence(id)) IS NULL LOOP
                EXECUTE format('CREATE SEQUENCE %I START %s', log_sequence(project), start);
            END LOOP;
        END $$
    """)
    op.execute("CREATE TRIGGER begin_log AFTER INSERT ON projects FOR EACH ROW EXECUTE FUNCTION begin_log()")
    op.execute("DROP SEQUENCE log_positions")
    op.execute("DROP TABLE log_start")


def downgrade() -> None:
    """The one sequence goes on behind all others. Whatever a failed attempt leaves is taken up by the next one."""
    op.execute("LOCK TABLE projects, event_ids, completions IN SHARE ROW EXCLUSIVE MODE")
    op.execute("CREATE SEQUENCE IF NOT EXISTS log_positions")
    op.execute("ALTER SEQUENCE log_positions OWNED BY events.position")
    op.execute("""
        SELECT setval('log_positions', last) FROM (
            SELECT greatest(
                (SELECT max(position) FROM event_ids), (SELECT max(position) FROM completions),
                (SELECT max(position) FROM prompts_placed), (SELECT max(watermark) FROM snapshots),
                (SELECT max(watermark) FROM runs), (SELECT max(watermark) FROM erasures)
            ) AS last) AS furthest
        WHERE last > 0
    """)
    op.execute("DROP TRIGGER IF EXISTS begin_log ON projects")
    op.execute("DROP FUNCTION IF EXISTS begin_log()")
    with op.get_context().autocommit_block():
        op.execute(f"""
            DO $$
            DECLARE project text; dropped integer := 0;
            BEGIN
                FOR project IN SELECT id FROM projects ORDER BY id LOOP
                    EXECUTE format('DROP SEQUENCE IF EXISTS %I', log_sequence(project));
                    dropped := dropped + 1;
                    IF dropped % {AT_ONCE} = 0 THEN COMMIT; END IF;
                END LOOP;
            END $$
        """)
    op.execute("DROP FUNCTION log_sequence(text)")
