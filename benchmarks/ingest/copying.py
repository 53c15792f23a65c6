"""The fastest way to write the same rows to the same table: asyncpg's COPY, without a check for repeated ids."""

import json
import time
from collections.abc import Sequence

import asyncpg
from thumbwheel import wire

from app.database import now
from app.feedback.ingest.append import STORED_COLUMNS
from app.feedback.ingest.entries import event_entry
from benchmarks.ingest.bodies import Bodies
from benchmarks.ingest.servers import PROJECT

COLUMNS = (
    "project_id", "event_id", "completion_id", "actor", "signal", "prompt", "completion", "checkpoint_id",
    "occurred_at", "supersedes", "conversation_id", "metadata", "never_train", "origin", "message",
    "position", "received_at",
)  # fmt: skip
ROWS = 5000  # per COPY and commit
#: Far above the positions that the log itself assigns.
FIRST_POSITION = 10**15


class Copying:
    """COPY over one connection. The rows are created before the clock starts."""

    def __init__(self, database_url: str) -> None:
        self._database_url = database_url
        self._position = FIRST_POSITION

    def rows(self, bodies: Bodies, start: int, count: int) -> list[tuple[object, ...]]:
        rows: list[tuple[object, ...]] = []
        for number in range(start, start + count):
            entry = event_entry(PROJECT, wire.Event.model_validate_json(bodies.body(number)))
            self._position += 1
            before, (prompt, _), after = entry.row[:5], entry.row[5:7], entry.row[7:STORED_COLUMNS]
            rows.append((*before, json.dumps(prompt, ensure_ascii=False), *after, self._position, now()))
        return rows

    async def rows_per_second(self, rows: Sequence[tuple[object, ...]]) -> float:
        connection = await asyncpg.connect(self._database_url)
        try:
            await connection.execute("SELECT count(*) FROM events WHERE false")
            began = time.perf_counter()
            for start in range(0, len(rows), ROWS):
                await connection.copy_records_to_table("events", records=rows[start : start + ROWS], columns=COLUMNS)
            return len(rows) / (time.perf_counter() - began)
        finally:
            await connection.close()
