"""SQL that reads pages of the log as JSON text, and that stores rows of another log with their positions and times."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import text
from sqlalchemy.orm import Session
from thumbwheel import wire

from app.feedback.ingest.append import STORED_COLUMNS, CompletionRow, EventRow, lock_key, sequence_name


def _time(column: str) -> str:
    return f"to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"


#: The completion as it was sent: a text, or a message of more than that.
_COMPLETION = "coalesce(message, to_json(completion))"
#: The fields of a line with their SQL, and the columns that make it long.
_FIELDS: Mapping[wire.LogKind, tuple[Mapping[str, str], Sequence[str]]] = {
    "events": (
        {
            "event_id": "event_id", "position": "position", "received_at": _time("received_at"),
            "occurred_at": _time("occurred_at"), "completion_id": "completion_id", "actor": "actor",
            "signal": "signal", "prompt": "prompt", "completion": _COMPLETION, "checkpoint_id": "checkpoint_id",
            "supersedes": "supersedes", "conversation_id": "conversation_id", "metadata": "metadata",
            "never_train": "never_train", "origin": "origin",
        },
        ("signal", "prompt", "completion", "message", "metadata"),
    ),
    "completions": (
        {
            "completion_id": "completion_id", "position": "position", "received_at": _time("received_at"),
            "prompt": "prompt", "completion": _COMPLETION, "checkpoint_id": "checkpoint_id",
            "conversation_id": "conversation_id", "sampling": "sampling", "token_ids": "token_ids",
            "log_probs": "log_probs", "metadata": "metadata",
        },
        ("prompt", "completion", "message", "sampling", "metadata", "token_ids", "log_probs"),
    ),
}  # fmt: skip


def _page_sql(table: wire.LogKind) -> str:
    """Returns the query of a page.

    The inner query measures the rows without making their text, so that Postgres makes no more of it than is sent. JSON
    is stored as it was sent: a line break in it, which can only stand between two values, becomes a space.
    """
    fields, long = _FIELDS[table]
    document = ", ".join(f"'{name}', {value}" for name, value in fields.items())
    size = " + ".join(f"coalesce(octet_length({column}::text), 0)" for column in long)
    return f"""
        SELECT translate(CAST(json_build_object({document}) AS text), E'\\n\\r', '  ')
        FROM (
            SELECT page.*, sum({size}) OVER (ORDER BY position ROWS UNBOUNDED PRECEDING) - ({size}) AS before
            FROM (
                SELECT * FROM {table} WHERE project_id = :project AND position > :after AND position <= :until
                ORDER BY position LIMIT :limit
            ) AS page
        ) AS measured
        WHERE before < :bytes ORDER BY position
    """  # noqa: S608 - made of constants


_PAGES = {table: text(_page_sql(table).replace("::", "\\:\\:")) for table in _FIELDS}


def lines(
    session: Session, project: str, table: wire.LogKind, *, after: int, until: int, limit: int, size: int
) -> list[str]:
    """Returns the first rows after position `after` up to `until` as JSON: `limit` of them at most, and fewer once
    they have `size` bytes."""
    values = {"project": project, "after": after, "until": until, "limit": limit, "bytes": size}
    return list(session.scalars(_PAGES[table], values))


class LogPlace(NamedTuple):
    """The place of a row in the log."""

    position: int
    received_at: datetime


def lock(session: Session, project: str) -> None:
    """Keeps all writers away from the log until the transaction ends."""
    session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": lock_key(project)})


def places(session: Session, project: str, table: wire.LogKind, ids: Collection[str]) -> dict[str, LogPlace]:
    """Returns the places of the events, or registered completions, with these ids, also of erased events."""
    source, name = {"events": ("event_ids", "event_id"), "completions": ("completions", "completion_id")}[table]
    rows = session.execute(
        text(f"SELECT {name}, position, received_at FROM {source} WHERE project_id = :project AND {name} = ANY(:ids)"),  # noqa: S608
        {"project": project, "ids": list(ids)},
    )
    return {own_id: LogPlace(position, received_at) for own_id, position, received_at in rows}


def last_taken(session: Session, project: str) -> int:
    """Returns the last position that an event ever had, 0 without one. Reads all ids of the project."""
    query = text("SELECT coalesce(max(position), 0) FROM event_ids WHERE project_id = :project")
    return int(session.execute(query, {"project": project}).scalar_one())


def erased(session: Session, project: str, actors: Sequence[str]) -> set[str]:
    """Returns those of these actors who were erased."""
    numbers = session.execute(
        text("SELECT erased_actors(CAST(:projects AS text[]), CAST(:actors AS text[]))"),
        {"projects": [project] * len(actors), "actors": list(actors)},
    ).scalar_one()
    return {actors[number - 1] for number in numbers}


_INSERT_EVENTS = text("""
    WITH item AS MATERIALIZED (
        SELECT * FROM unnest(
            CAST(:c0 AS text[]), CAST(:c1 AS text[]), CAST(:c2 AS text[]), CAST(:c3 AS text[]), CAST(:c4 AS text[]),
            CAST(:c5 AS text[]), CAST(:c6 AS text[]), CAST(:c7 AS text[]), CAST(:c8 AS uuid[]),
            CAST(:c9 AS timestamptz[]), CAST(:c10 AS text[]), CAST(:c11 AS text[]), CAST(:c12 AS text[]),
            CAST(:c13 AS bool[]), CAST(:c14 AS text[]), CAST(:c15 AS text[]), CAST(:positions AS bigint[]),
            CAST(:received AS timestamptz[])
        ) AS item (project_id, event_id, completion_id, actor, signal, prompt, messages, completion, checkpoint_id,
                   occurred_at, supersedes, conversation_id, metadata, never_train, origin, message, position,
                   received_at)
    ), taken AS (
        INSERT INTO event_ids (project_id, event_id, position, received_at)
        SELECT project_id, event_id, position, received_at FROM item ORDER BY event_id
    )
    INSERT INTO events (project_id, event_id, completion_id, actor, signal, prompt, completion, checkpoint_id,
                        occurred_at, supersedes, conversation_id, metadata, never_train, origin, message, position,
                        received_at)
    SELECT project_id, event_id, completion_id, actor, CAST(signal AS json),
           coalesce(CAST(messages AS json), to_json(prompt)), completion, checkpoint_id, occurred_at, supersedes,
           conversation_id, CAST(metadata AS json), never_train, origin, CAST(message AS json), position, received_at
    FROM item ORDER BY position
""")

_INSERT_COMPLETIONS = text("""
    INSERT INTO completions (project_id, completion_id, prompt, completion, checkpoint_id, conversation_id, sampling,
                             token_ids, log_probs, metadata, message, position, received_at)
    SELECT project_id, completion_id, CAST(prompt AS json), completion, checkpoint_id, conversation_id,
           CAST(sampling AS json), CAST(token_ids AS int[]), CAST(log_probs AS float8[]), CAST(metadata AS json),
           CAST(message AS json), position, received_at
    FROM unnest(
        CAST(:c0 AS text[]), CAST(:c1 AS text[]), CAST(:c2 AS text[]), CAST(:c3 AS text[]), CAST(:c4 AS uuid[]),
        CAST(:c5 AS text[]), CAST(:c6 AS text[]), CAST(:c7 AS text[]), CAST(:c8 AS text[]), CAST(:c9 AS text[]),
        CAST(:c10 AS text[]), CAST(:positions AS bigint[]), CAST(:received AS timestamptz[])
    ) AS item (project_id, completion_id, prompt, completion, checkpoint_id, conversation_id, sampling, token_ids,
               log_probs, metadata, message, position, received_at)
    ORDER BY position
""")


def insert_events(session: Session, rows: Sequence[EventRow], at: Sequence[LogPlace]) -> None:
    """Inserts events at these places. The caller holds the log's lock, and has seen that ids and places are free."""
    session.execute(_INSERT_EVENTS, _columns([row[:STORED_COLUMNS] for row in rows], at))


def insert_completions(session: Session, rows: Sequence[CompletionRow], at: Sequence[LogPlace]) -> None:
    """Registers completions at these places, as `insert_events` does."""
    session.execute(_INSERT_COMPLETIONS, _columns(rows, at))


def continue_after(session: Session, project: str, position: int) -> None:
    """Makes the log's next position follow this one. The caller holds the log's lock."""
    session.execute(
        text("SELECT setval(to_regclass(:sequence), :position)"),
        {"sequence": sequence_name(project), "position": position},
    )


def has_rows_without_month(session: Session, start: datetime, end: datetime) -> bool:
    """Returns whether events received in this time are in the default partition."""
    query = text("SELECT EXISTS (SELECT FROM events_other WHERE received_at >= :start AND received_at < :end)")
    return bool(session.execute(query, {"start": start, "end": end}).scalar_one())


def _columns(rows: Sequence[tuple[Any, ...]], at: Sequence[LogPlace]) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {
        f"c{number}": list(column) for number, column in enumerate(zip(*rows, strict=True))
    }
    return columns | {"positions": [place.position for place in at], "received": [place.received_at for place in at]}
