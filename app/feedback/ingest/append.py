"""SQL that appends to the log, on asyncpg: each append is one statement, and so one transaction and one round trip.

Positions are drawn under the log's lock (see `store.watermark`), ids are claimed in a narrow table, and new rows go
into the log itself. Ids and locks are taken in sorted order, so that two writers of the same ones cannot deadlock.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from hashlib import sha256
from typing import Any, Literal
from uuid import UUID, uuid4

import asyncpg

Key = tuple[str, str]  # project, and an id in it

#: Project, event id, completion id, actor, signal, prompt as text, prompt as messages, completion, checkpoint,
#: time, superseded event, conversation, metadata, whether never to train on it, origin, the completion where it is a
#: message; and, where actor is a hash, the id that it was made of, which only tombstones are looked up by. Signal,
#: messages and metadata are JSON text.
EventRow = tuple[
    str, str, str, str, str, str | None, str | None, str | None, UUID | None, datetime | None, str | None, str | None,
    str, bool, str | None, str | None, str | None,
]  # fmt: skip
#: Of an event's row: what comes behind them is not stored.
STORED_COLUMNS = 16
#: Project, completion id, prompt, completion, checkpoint, conversation, sampling, token ids, log-probs, metadata, the
#: completion where it is a message.
CompletionRow = tuple[str, str, str, str, UUID | None, str | None, str, str | None, str | None, str, str | None]

#: The version of the settings on redaction and actors by project, None for a project without any.
Versions = Mapping[str, UUID | None]
NO_VERSIONS: Versions = {}

#: The outcome of a row: appended; its id exists already; refused, since its actor was erased.
Fate = Literal["new", "there", "erased"]


@cache
def lock_key(project: str) -> int:
    """Returns the key of the log's advisory lock: writers hold it shared, `store.watermark` takes it exclusively."""
    return int.from_bytes(sha256(f"thumbwheel feedback {project}".encode()).digest()[:8], "big", signed=True)


@cache
def sequence_name(project: str) -> str:
    """Returns the sequence of the positions in a project's log, named as by `log_sequence` in Postgres."""
    return f"log_positions_{sha256(project.encode()).hexdigest()[:32]}"


#: SQLSTATE of a transaction whose rows were made by settings on redaction and actors that hold no more.
OUTDATED = "TW001"

#: The versions of settings are compared once the lock is held: a change of them holds it until its commit.
_LOCKED = """
    WITH waited AS MATERIALIZED (SELECT count(pg_advisory_xact_lock_shared(key)) FROM unnest($1::bigint[]) AS key),
    locked AS MATERIALIZED (SELECT require_protections($2::text[], $3::uuid[]) FROM waited)"""

_APPEND_EVENTS = (
    _LOCKED  # noqa: S608 - made of constants
    + """,
    erased AS MATERIALIZED (
        SELECT erased_actors($4::text[], $7::text[])
               || CASE WHEN $21::text[] IS NULL THEN '{}' ELSE erased_actors($4::text[], $21::text[]) END AS numbers
        FROM locked
    ),
    item AS MATERIALIZED (
        SELECT item.*, item.number = ANY(numbers) AS erased,
               nextval(to_regclass(item.sequence)) AS position
        FROM erased, unnest($4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[],
                            $11::text[], $12::uuid[], $13::timestamptz[], $14::text[], $15::text[], $16::text[],
                            $17::bool[], $18::text[], $19::text[], $20::text[])
             WITH ORDINALITY AS item (project_id, event_id, completion_id, actor, signal, prompt, messages, completion,
                                      checkpoint_id, occurred_at, supersedes, conversation_id, metadata, never_train,
                                      origin, message, sequence, number)
    ), taken AS (
        INSERT INTO event_ids (project_id, event_id, position, received_at)
        SELECT project_id, event_id, position, now() FROM item WHERE NOT erased
        ORDER BY project_id, event_id, number
        ON CONFLICT DO NOTHING
        RETURNING project_id, position
    ), logged AS (
        INSERT INTO events (project_id, event_id, completion_id, actor, signal, prompt, completion, checkpoint_id,
                            occurred_at, supersedes, conversation_id, metadata, never_train, origin, message,
                            position, received_at)
        SELECT project_id, event_id, completion_id, actor, signal::json, coalesce(messages::json, to_json(prompt)),
               completion, checkpoint_id, occurred_at, supersedes, conversation_id, metadata::json, never_train,
               origin, message::json, position, now()
        FROM item JOIN taken USING (project_id, position) ORDER BY position
    )
    SELECT number, erased FROM item LEFT JOIN taken USING (project_id, position) WHERE taken.position IS NULL
"""
)


async def append_events(
    connection: asyncpg.Connection, rows: Sequence[EventRow], versions: Versions = NO_VERSIONS
) -> list[Fate]:
    """Appends the rows in their order, except those of erased actors; events whose id exists stay as they are.

    versions  of the settings on redaction and actors that the rows were made by, where a project has any

    Raises an error with the SQLSTATE `OUTDATED` if a project has others now. Erased actors are looked up once the lock
    is held, among the tombstones committed by then: an erasure that committed its tombstone and then took the log's
    lock misses no event.
    """
    *stored, known_as = _columns(rows)
    sent = known_as if any(name is not None for name in known_as) else None
    return await _append(connection, _APPEND_EVENTS, [*stored, _sequences(stored), sent], versions)


async def require_current(connection: asyncpg.Connection, versions: Versions) -> None:
    """Raises an error with the SQLSTATE `OUTDATED` if a project has other settings on redaction and actors now."""
    await connection.fetchval(
        "SELECT require_protections($1::text[], $2::uuid[])", list(versions), list(versions.values())
    )


async def try_to_append(connection: asyncpg.Connection) -> None:
    """Appends an event to any project and rolls it back. Raises the error that an event would meet."""
    project = await connection.fetchval("SELECT id FROM projects LIMIT 1")
    if project is None:
        return
    trial = connection.transaction()
    await trial.start()
    try:
        row: EventRow = (
            project, f"trial {uuid4()}", "trial", "trial", '{"kind": "copy"}', None, None, None, None, None, None, None,
            "{}", True, None, None, None,
        )  # fmt: skip
        newest = "SELECT id FROM protections WHERE project_id = $1 ORDER BY number DESC LIMIT 1"
        await append_events(connection, [row], {project: await connection.fetchval(newest, project)})
    finally:
        if not connection.is_closed():
            await trial.rollback()


def lacks_partition(error: Exception) -> bool:
    """Returns whether the error means that no partition takes the row. Postgres reports a check violation for it."""
    return isinstance(error, asyncpg.CheckViolationError) and error.constraint_name is None


_EVENTS_OF = """
    SELECT i.project_id, i.event_id, e.completion_id, e.actor, e.signal, e.prompt, e.completion, e.checkpoint_id,
           e.occurred_at, e.supersedes, e.conversation_id, e.metadata, e.never_train, e.message
    FROM unnest($1::text[], $2::text[]) AS requested (project_id, event_id)
    JOIN event_ids i ON (i.project_id, i.event_id) = (requested.project_id, requested.event_id)
    JOIN events e ON (e.project_id, e.position, e.received_at) = (i.project_id, i.position, i.received_at)
"""


async def events_of(connection: asyncpg.Connection, keys: Iterable[Key]) -> dict[Key, dict[str, Any]]:
    """Returns the stored events in the form of `signals.document`, without erased ones."""
    return {
        (row["project_id"], row["event_id"]): {
            "completion_id": row["completion_id"],
            "actor": row["actor"],
            "signal": {name: value for name, value in json.loads(row["signal"]).items() if value is not None},
            "prompt": _decoded(row["prompt"]),
            "completion": _decoded(row["message"]) or row["completion"],
            "checkpoint_id": _text(row["checkpoint_id"]),
            "occurred_at": None if row["occurred_at"] is None else row["occurred_at"].timestamp(),
            "supersedes": row["supersedes"],
            "conversation_id": row["conversation_id"],
            "metadata": json.loads(row["metadata"]),
            "never_train": row["never_train"],
        }
        for row in await _fetch_by_key(connection, _EVENTS_OF, keys)
    }


_APPEND_COMPLETIONS = (
    _LOCKED  # noqa: S608 - made of constants
    + """,
    item AS MATERIALIZED (
        SELECT item.*, nextval(to_regclass(item.sequence)) AS position
        FROM locked, unnest($4::text[], $5::text[], $6::text[], $7::text[], $8::uuid[], $9::text[], $10::text[],
                            $11::text[], $12::text[], $13::text[], $14::text[], $15::text[])
             WITH ORDINALITY AS item (project_id, completion_id, prompt, completion, checkpoint_id, conversation_id,
                                      sampling, token_ids, log_probs, metadata, message, sequence, number)
    ), registered AS (
        INSERT INTO completions (project_id, completion_id, prompt, completion, checkpoint_id, conversation_id,
                                 sampling, token_ids, log_probs, metadata, message, position, received_at)
        SELECT project_id, completion_id, prompt::json, completion, checkpoint_id, conversation_id, sampling::json,
               token_ids::int[], log_probs::float8[], metadata::json, message::json, position, now()
        FROM item ORDER BY project_id, completion_id, number
        ON CONFLICT DO NOTHING
        RETURNING project_id, position
    )
    SELECT number, false FROM item LEFT JOIN registered USING (project_id, position) WHERE registered.position IS NULL
"""
)


async def append_completions(
    connection: asyncpg.Connection, rows: Sequence[CompletionRow], versions: Versions = NO_VERSIONS
) -> list[Fate]:
    """Registers the rows; completions whose id exists stay as they are. `versions` as for `append_events`."""
    columns = _columns(rows)
    return await _append(connection, _APPEND_COMPLETIONS, [*columns, _sequences(columns)], versions)


_COMPLETIONS_OF = """
    SELECT c.project_id, c.completion_id, c.prompt, c.completion, c.checkpoint_id, c.conversation_id, c.sampling,
           c.token_ids, c.log_probs, c.metadata, c.message
    FROM unnest($1::text[], $2::text[]) AS requested (project_id, completion_id)
    JOIN completions c ON (c.project_id, c.completion_id) = (requested.project_id, requested.completion_id)
"""


async def completions_of(connection: asyncpg.Connection, keys: Iterable[Key]) -> dict[Key, dict[str, Any]]:
    """Returns the registered completions in the form of `signals.completion_document`."""
    return {
        (row["project_id"], row["completion_id"]): {
            "prompt": _decoded(row["prompt"]),
            "completion": _decoded(row["message"]) or row["completion"],
            "checkpoint_id": _text(row["checkpoint_id"]),
            "conversation_id": row["conversation_id"],
            "sampling": json.loads(row["sampling"]),
            "token_ids": row["token_ids"],
            "log_probs": row["log_probs"],
            "metadata": json.loads(row["metadata"]),
        }
        for row in await _fetch_by_key(connection, _COMPLETIONS_OF, keys)
    }


def _columns(rows: Sequence[tuple[Any, ...]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]


def _sequences(columns: Sequence[Sequence[Any]]) -> list[str]:
    return list(map(sequence_name, columns[0]))


async def _append(
    connection: asyncpg.Connection, statement: str, columns: Sequence[list[Any] | None], versions: Versions
) -> list[Fate]:
    of_row = columns[0]
    assert of_row is not None
    projects = sorted(set(of_row))
    locks = sorted(map(lock_key, projects))
    fates: list[Fate] = ["new"] * len(of_row)
    made_by = [versions.get(project) for project in projects]
    for number, erased in await connection.fetch(statement, locks, projects, made_by, *columns):
        fates[number - 1] = "erased" if erased else "there"
    return fates


async def _fetch_by_key(connection: asyncpg.Connection, query: str, keys: Iterable[Key]) -> Sequence[Mapping[str, Any]]:
    pairs = list(keys)
    rows: Sequence[Mapping[str, Any]] = await connection.fetch(
        query, [project for project, _ in pairs], [own_id for _, own_id in pairs]
    )
    return rows


def _decoded(text: str | None) -> Any:
    return None if text is None else json.loads(text)


def _text(value: UUID | None) -> str | None:
    return None if value is None else str(value)
