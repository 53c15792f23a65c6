"""The moment of an event: when it occurred, else its receipt, unless it was imported; as SQL. Pure."""

from datetime import UTC, datetime

#: The moment of signals whose time is unknown: before all others.
NO_TIME = datetime(1970, 1, 1, tzinfo=UTC)
#: True if the moment is that of the receipt.
BY_ARRIVAL_SQL = "occurred_at IS NULL AND origin IS NULL"
MOMENT_SQL = f"coalesce(occurred_at, CASE WHEN origin IS NULL THEN received_at ELSE '{NO_TIME.isoformat()}' END)"
