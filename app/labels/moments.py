"""The moment of an event, for SQL. Pure."""

from app.labels.verdicts import NO_TIME

#: Whether the moment is that of the receipt.
BY_ARRIVAL_SQL = "occurred_at IS NULL AND origin IS NULL"
MOMENT_SQL = f"coalesce(occurred_at, CASE WHEN origin IS NULL THEN received_at ELSE '{NO_TIME.isoformat()}' END)"
