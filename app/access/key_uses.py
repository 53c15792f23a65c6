"""Remembers which keys this process has recognised, until their times are written to Postgres.

A key is looked up at most twice a second, however many requests carry it; a write for each would lock its row.
"""

from datetime import datetime
from uuid import UUID

from app.database import now

_last: dict[UUID, datetime] = {}


def note(key_id: UUID) -> None:
    """Records that a request with this key was admitted just now."""
    _last[key_id] = now()


def take() -> dict[UUID, datetime]:
    """Returns the time of the last use of each key since the last call."""
    taken: dict[UUID, datetime] = {}
    while _last:
        try:
            key_id, at = _last.popitem()
        except KeyError:  # another thread took the last one
            break
        taken.setdefault(key_id, at)
    return taken
