"""SQL of the way into the log, on asyncpg: inside a transaction of the caller, who commits it.

Ids are taken first, in a narrow table; what is new then goes into the log by COPY, and nothing stands in its way.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any
from uuid import UUID

import asyncpg

Key = tuple[str, str]  # project, and an id in it

EVENT_COLUMNS = (
    "project_id", "event_id", "completion_id", "actor", "signal", "prompt", "completion", "checkpoint_id",
    "occurred_at", "supersedes", "metadata", "position", "received_at",
)  # fmt: skip
#: The values of `EVENT_COLUMNS` but for the last two; signal, prompt and metadata are JSON text.
EventRow = tuple[
    str, str, str, str, str, str | None, str | None, UUID | None, datetime | None, str | None, str
]  # fmt: skip
#: project, completion id, prompt, completion, checkpoint, sampling, token ids, log-probs, metadata.
CompletionRow = tuple[str, str, str, str, UUID | None, str, str | None, str | None, str]


def lock_key(project: str) -> int:
    """The advisory lock of the project's log: writers share it, `store.watermark` has it alone for a moment."""
    return int.from_bytes(sha256(f"thumbwheel feedback {project}".encode()).digest()[:8], "big", signed=True)


async def begin(connection: asyncpg.Connection, projects: Iterable[str]) -> None:
    """Begin a transaction that may write to the logs of `projects`; all in one order, so that none wait in a circle."""
    locks = "".join(f";SELECT pg_advisory_xact_lock_shared({key})" for key in sorted(map(lock_key, projects)))
    await connection.execute("BEGIN" + locks)


_TAKE_IDS = """
    WITH item AS MATERIALIZED (
        SELECT project_id, event_id, number, nextval('log_positions') AS position
        FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS item (project_id, event_id, number)
    )
    INSERT INTO event_ids (project_id, event_id, position, received_at)
    SELECT project_id, event_id, position, $3 FROM item ORDER BY project_id, event_id, number
    ON CONFLICT DO NOTHING
    RETURNING project_id, event_id, position
"""


async def append_events(connection: asyncpg.Connection, received_at: datetime, rows: Sequence[EventRow]) -> list[bool]:
    """Append the rows in their order; those whose id is there already are left as they are. Which ones are new.

    Ids are inserted sorted, so that two writers of the same ids wait for each other, and not in a circle.
    """
    taken = await connection.fetch(_TAKE_IDS, [row[0] for row in rows], [row[1] for row in rows], received_at)
    positions = {(project, event_id): position for project, event_id, position in taken}
    new: list[bool] = []
    records = []
    for row in rows:
        position = positions.pop((row[0], row[1]), None)  # the first one of equal ids takes it
        new.append(position is not None)
        if position is not None:
            records.append((*row, position, received_at))
    if records:
        await connection.copy_records_to_table("events", records=records, columns=EVENT_COLUMNS)
    return new


_EVENTS_OF = """
    SELECT i.project_id, i.event_id, e.completion_id, e.actor, e.signal, e.prompt, e.completion, e.checkpoint_id,
           e.occurred_at, e.supersedes, e.metadata
    FROM unnest($1::text[], $2::text[]) AS asked (project_id, event_id)
    JOIN event_ids i ON (i.project_id, i.event_id) = (asked.project_id, asked.event_id)
    JOIN events e ON (e.project_id, e.position, e.received_at) = (i.project_id, i.position, i.received_at)
"""


async def events_of(connection: asyncpg.Connection, keys: Iterable[Key]) -> dict[Key, dict[str, Any]]:
    """The stored events, as `signals.document` shows them; without those that were erased."""
    return {
        (row["project_id"], row["event_id"]): {
            "completion_id": row["completion_id"],
            "actor": row["actor"],
            "signal": {name: value for name, value in json.loads(row["signal"]).items() if value is not None},
            "prompt": _decoded(row["prompt"]),
            "completion": row["completion"],
            "checkpoint_id": _text(row["checkpoint_id"]),
            "occurred_at": None if row["occurred_at"] is None else row["occurred_at"].timestamp(),
            "supersedes": row["supersedes"],
            "metadata": json.loads(row["metadata"]),
        }
        for row in await _fetch_by_key(connection, _EVENTS_OF, keys)
    }


_INSERT_COMPLETIONS = """
    INSERT INTO completions (project_id, completion_id, prompt, completion, checkpoint_id, sampling, token_ids,
                             log_probs, metadata, position, received_at)
    SELECT project_id, completion_id, prompt::json, completion, checkpoint_id, sampling::json, token_ids::int[],
           log_probs::float8[], metadata::json, nextval('log_positions'), $10
    FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::uuid[], $6::text[], $7::text[], $8::text[],
                $9::text[])
         WITH ORDINALITY AS item (project_id, completion_id, prompt, completion, checkpoint_id, sampling, token_ids,
                                  log_probs, metadata, number)
    ORDER BY project_id, completion_id, number
    ON CONFLICT DO NOTHING
    RETURNING project_id, completion_id
"""


async def append_completions(
    connection: asyncpg.Connection, received_at: datetime, rows: Sequence[CompletionRow]
) -> list[bool]:
    """Register the rows; those whose id is there already are left as they are. Which ones are new."""
    columns = [list(column) for column in zip(*rows, strict=True)]
    inserted = await connection.fetch(_INSERT_COMPLETIONS, *columns, received_at)
    left = {(project, completion_id) for project, completion_id in inserted}
    new = []
    for row in rows:
        key = (row[0], row[1])
        new.append(key in left)
        left.discard(key)
    return new


_COMPLETIONS_OF = """
    SELECT c.project_id, c.completion_id, c.prompt, c.completion, c.checkpoint_id, c.sampling, c.token_ids,
           c.log_probs, c.metadata
    FROM unnest($1::text[], $2::text[]) AS asked (project_id, completion_id)
    JOIN completions c ON (c.project_id, c.completion_id) = (asked.project_id, asked.completion_id)
"""


async def completions_of(connection: asyncpg.Connection, keys: Iterable[Key]) -> dict[Key, dict[str, Any]]:
    """The registered completions, as `signals.completion_document` shows them."""
    return {
        (row["project_id"], row["completion_id"]): {
            "prompt": _decoded(row["prompt"]),
            "completion": row["completion"],
            "checkpoint_id": _text(row["checkpoint_id"]),
            "sampling": json.loads(row["sampling"]),
            "token_ids": row["token_ids"],
            "log_probs": row["log_probs"],
            "metadata": json.loads(row["metadata"]),
        }
        for row in await _fetch_by_key(connection, _COMPLETIONS_OF, keys)
    }


async def _fetch_by_key(connection: asyncpg.Connection, query: str, keys: Iterable[Key]) -> Sequence[Mapping[str, Any]]:
    asked = list(keys)
    found: Sequence[Mapping[str, Any]] = await connection.fetch(
        query, [project for project, _ in asked], [own_id for _, own_id in asked]
    )
    return found


def _decoded(text: str | None) -> Any:
    return None if text is None else json.loads(text)


def _text(value: UUID | None) -> str | None:
    return None if value is None else str(value)
