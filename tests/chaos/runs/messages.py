"""Delivers every message two or three times: a trigger in Postgres copies the rows of the outbox and records them."""

from typing import Any

from sqlalchemy import text

from app.database import transaction

#: Messages sent by the relay go in any order; the copies of one may be far apart, and be sent by different relays.
DOUBLING = (
    "CREATE TABLE chaos_messages (task text, queue text, arguments jsonb)",
    """
CREATE FUNCTION chaos_double() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO chaos_messages VALUES (NEW.task, NEW.queue, NEW.arguments);
    INSERT INTO outbox (id, task, queue, arguments, created_at)
    SELECT gen_random_uuid(), NEW.task, NEW.queue, NEW.arguments, NEW.created_at
    FROM generate_series(1, 1 + floor(random() * 2)::int);
    RETURN NULL;
END $$""",
    """
CREATE TRIGGER chaos_double AFTER INSERT ON outbox
FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION chaos_double()""",
)


def double() -> None:
    """Creates the trigger that copies each new message of the outbox once or twice."""
    with transaction() as session:
        for statement in DOUBLING:
            session.execute(text(statement))


def everything_sent() -> list[tuple[str, str, dict[str, Any]]]:
    """Returns task, queue and arguments of each message so far. Raises `Unavailable`."""
    with transaction() as session:
        return [(row[0], row[1], row[2]) for row in session.execute(text("SELECT * FROM chaos_messages"))]


def waiting() -> int:
    """Counts the messages that are not sent yet. Raises `Unavailable`."""
    with transaction() as session:
        return int(session.execute(text("SELECT count(*) FROM outbox")).scalar_one())
