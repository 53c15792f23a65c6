"""Ids for records without one, derived from their content and, for equal records, from their order."""

import hashlib
import json
import sqlite3
from typing import Any

_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"))


class OwnIds:
    """Derives ids; its memory is bounded, since the digests of past records lie in a temporary database."""

    def __init__(self) -> None:
        # A file without a name is deleted when it is closed; another thread may read ahead.
        self._seen = sqlite3.connect("", check_same_thread=False)
        self._seen.execute("PRAGMA journal_mode = OFF")
        self._seen.execute("PRAGMA cache_size = -16384")  # KiB
        self._seen.execute("CREATE TABLE seen (digest BLOB PRIMARY KEY, times INTEGER) WITHOUT ROWID")

    def id_of(self, row: Any) -> str:
        """Returns the id of a record, which another import of it gives again."""
        digest = hashlib.sha256(_ENCODER.encode(row).encode()).digest()[:16]
        [(times,)] = self._seen.execute(
            "INSERT INTO seen VALUES (?, 1) ON CONFLICT DO UPDATE SET times = times + 1 RETURNING times", (digest,)
        )
        return f"row-{digest.hex()}-{times}"

    def close(self) -> None:
        self._seen.close()
