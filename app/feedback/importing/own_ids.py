"""Ids for records without one, derived from their content and, for equal records, from their order."""

import hashlib
import json
import sqlite3
from typing import Any

_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"))
#: Bytes of the filter, which has a bit for each of the first three bytes of a digest.
_FILTER_BYTES = 1 << 21
#: Digests that are inserted together.
_AT_ONCE = 1000


class OwnIds:
    """Derives ids; its memory is bounded, since the digests of past records lie in a temporary database.

    A filter knows of nearly all records that they are new, so that the database need not be asked about them.
    """

    def __init__(self) -> None:
        # A file without a name is deleted when it is closed; another thread may read ahead.
        self._seen = sqlite3.connect("", check_same_thread=False)
        self._seen.execute("PRAGMA journal_mode = OFF")
        self._seen.execute("PRAGMA cache_size = -16384")  # KiB
        self._seen.execute("CREATE TABLE seen (digest BLOB PRIMARY KEY, times INTEGER) WITHOUT ROWID")
        self._maybe_seen = bytearray(_FILTER_BYTES)
        self._new: list[tuple[bytes]] = []

    def id_of(self, row: Any) -> str:
        """Returns the id of a record, which another import of it gives again."""
        digest = hashlib.sha256(_ENCODER.encode(row).encode()).digest()[:16]
        return f"row-{digest.hex()}-{self._times(digest)}"

    def close(self) -> None:
        self._seen.close()

    def _times(self, digest: bytes) -> int:
        """Returns how often the digest was seen, this time included."""
        place, bit = digest[0] << 13 | digest[1] << 5 | digest[2] >> 3, 1 << (digest[2] & 7)
        if not self._maybe_seen[place] & bit:
            self._maybe_seen[place] |= bit
            self._new.append((digest,))
            if len(self._new) >= _AT_ONCE:
                self._insert_new()
            return 1
        self._insert_new()
        [(times,)] = self._seen.execute(
            "INSERT INTO seen VALUES (?, 1) ON CONFLICT DO UPDATE SET times = times + 1 RETURNING times", (digest,)
        )
        return int(times)

    def _insert_new(self) -> None:
        self._seen.executemany("INSERT INTO seen VALUES (?, 1)", self._new)
        self._new.clear()
