"""SQL of reading the log: its events and registered completions, as columns."""

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl
import pyarrow as pa
from sqlalchemy import text
from sqlalchemy.orm import Session

from app.arrow_queries import arrow, literal
from app.feedback.reading.carriers import CARRIERS, Carrier
from app.feedback.reading.event_time import BY_ARRIVAL_SQL, MOMENT_SQL
from app.feedback.reading.not_preferred import ID_SQL
from app.feedback.reading.segments import segment_sql

NAMED_AT_ONCE = 20_000
#: A log-prob below this, in nats, counts as this: a server that writes its smallest number for "impossible" would
#: otherwise decide the mean, or make the sum overflow.
LEAST_LOG_PROB = -1000

#: Table and text.
_CARRIED: dict[Carrier, tuple[str, str]] = {
    "event": ("events", "completion"),
    "rejected": ("events", "signal ->> 'rejected'"),
    "registered": ("completions", "completion"),
}
#: Short signals come as they are, as most are short; of the others only what labels need.
_BRIEF = f"""
    CASE WHEN pg_column_size(signal) < 80 THEN signal
         WHEN signal ->> 'kind' IN ('edit', 'comment') THEN json_build_object('kind', signal ->> 'kind')
         WHEN signal ->> 'kind' = 'preference' THEN
             json_build_object('kind', 'preference', 'carries', signal ->> 'rejected' IS NOT NULL,
                               'rejected_completion_id', {ID_SQL}, 'tie', signal -> 'tie')
         ELSE signal END
"""

#: What is true of an event or not, as bits of one number: Postgres sends, and the driver reads, a column less for each.
_FLAGS = {"by_arrival": BY_ARRIVAL_SQL, "carries": "completion IS NOT NULL", "never_train": "never_train"}
_FLAGS_SQL = " + ".join(f"{1 << bit} * ({condition})::int" for bit, condition in enumerate(_FLAGS.values()))
_EVENT = (
    f"position, completion_id, actor, {MOMENT_SQL} AS moment, {_BRIEF} AS signal, ({_FLAGS_SQL})::int2 AS flags, "
    "checkpoint_id, supersedes"
)
_EVENT_COLUMNS = pa.schema(
    [
        ("position", pa.int64()),
        ("completion_id", pa.string()),
        ("actor", pa.string()),
        ("moment", pa.timestamp("us", "UTC")),
        ("signal", pa.string()),
        ("flags", pa.int16()),
        ("checkpoint_id", pa.binary(16)),
        ("supersedes", pa.string()),
    ]
)


@dataclass(frozen=True)
class LogSource:
    """The log up to a watermark, or the events about a few completions, in columns.

    segments  keys of metadata: `events`, `registered` and `named` also have a hash of each one's value, as the columns
              segment_0, segment_1 …; 0 without a value
    """

    session: Session
    project: str
    watermark: int
    about: Collection[str] | None = None
    segments: Sequence[str] = ()

    def events(self) -> Iterator[pa.RecordBatch]:
        """Yields the events without prompt and completion, in no order: position, completion_id, actor, moment and
        by_arrival (see `event_time`), signal (JSON text without texts; a long preference has the rejected id and
        whether it `carries` a text), carries (whether it has a completion's text), never_train, checkpoint_id
        (16 bytes), supersedes, segments.
        """
        if self.about is not None:
            yield _with_conditions(self._events_about(self.about))
            return
        batches = arrow(self.session, f"SELECT {_EVENT}{self._hashes} FROM events WHERE {self._here}")  # noqa: S608
        yield from map(_with_conditions, batches)

    def _events_about(self, completion_ids: Collection[str]) -> pa.RecordBatch:
        """Returns the events about a few completions, by the session: a stream takes longer to start."""
        rows = self.session.execute(
            text(
                f"SELECT {_EVENT} FROM events WHERE project_id = :project AND position <= :watermark "  # noqa: S608
                "AND completion_id = ANY(:ids)"
            ),
            {"project": self.project, "watermark": self.watermark, "ids": list(completion_ids)},
        ).mappings()
        return pa.RecordBatch.from_pylist(
            [
                {
                    **row,
                    "signal": json.dumps(row["signal"]),
                    "checkpoint_id": row["checkpoint_id"].bytes if row["checkpoint_id"] else None,
                }
                for row in rows
            ],
            schema=_EVENT_COLUMNS,
        )

    def positions(self, event_ids: Collection[str]) -> dict[str, int]:
        """Returns the positions of the events with these ids."""
        rows = self.session.execute(
            text("SELECT event_id, position FROM event_ids WHERE project_id = :project AND event_id = ANY(:ids)"),
            {"project": self.project, "ids": list(event_ids)},
        )
        return dict(rows.tuples().all())

    def registered(self) -> Iterator[pa.RecordBatch]:
        """Returns completion_id, position and checkpoint_id of the registered completions that an event is about."""
        return self._registered(
            f"completion_id IN (SELECT completion_id FROM events WHERE {self._here})"  # noqa: S608 - literals
        )

    def named(self, completion_ids: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Yields completion_id, position and checkpoint_id of the registered completions among these."""
        for start in range(0, len(completion_ids), NAMED_AT_ONCE):
            some = completion_ids[start : start + NAMED_AT_ONCE]
            yield from self._registered(f"completion_id = ANY({literal(some)}::text[])")

    def _registered(self, condition: str) -> Iterator[pa.RecordBatch]:
        return arrow(
            self.session,
            f"SELECT completion_id, position, checkpoint_id::text AS checkpoint_id{self._hashes} FROM completions "  # noqa: S608
            f"WHERE {self._here} AND {condition}",
        )

    @property
    def _hashes(self) -> str:
        values = map(segment_sql, map(literal, self.segments))
        return "".join(f", coalesce(hashtext({value}), 0) AS segment_{number}" for number, value in enumerate(values))

    @property
    def _here(self) -> str:
        return f"project_id = {literal(self.project)} AND position <= {self.watermark:d}"

    def texts(self, carrier: Carrier, positions: Sequence[int]) -> dict[int, str]:
        """Returns the texts of the completions that are carried at these positions."""
        table, completion = _CARRIED[carrier]
        return self._texts_at(positions, f"{completion} AS text FROM {table}")

    def edited(self, positions: Sequence[int]) -> dict[int, str]:
        """Returns the texts that the edits at these positions made of completions."""
        return self._texts_at(positions, "signal ->> 'text' AS text FROM events")

    def _texts_at(self, positions: Sequence[int], what: str) -> dict[int, str]:
        texts: dict[int, str] = {}
        for batch in arrow(
            self.session,
            f"SELECT position, {what} "
            f"WHERE project_id = {literal(self.project)} AND position = ANY({literal(positions)}::bigint[])",
        ):
            texts |= zip(batch["position"].to_pylist(), batch["text"].to_pylist(), strict=True)
        return texts


#: The mean log-prob per token of a registered completion. Postgres computes it, as the arrays would be most of the log.
#: The order of the elements is that of the array, so equal logs have equal means to the last bit.
_WRITER_LOG_PROB = (
    f"CASE WHEN log_probs IS NOT NULL THEN (SELECT avg(greatest(log_prob, {LEAST_LOG_PROB})) "  # noqa: S608 - a constant
    "FROM unnest(log_probs) AS token (log_prob)) END AS writer_log_prob"
)


def carried(
    session: Session, project: str, watermark: int, *, since: int = 0, log_probs: bool = False
) -> Iterator[pa.RecordBatch]:
    """Yields the texts of completions after position `since`, from events and registrations, in no order: position,
    carrier (number in `CARRIERS`), prompt (JSON text), completion, message (JSON text of a completion that is more than
    a text, else null). The other sides of preferences are left out:
    `LogSource.texts` has them.

    log_probs  batches of registered completions also have `writer_log_prob`: the mean log-prob per token, in nats, as
               the server gave it; null if none was registered
    """
    here = f"project_id = {literal(project)} AND position > {since:d} AND position <= {watermark:d}"
    for carrier in ("event", "registered"):
        table, completion = _CARRIED[carrier]
        number = CARRIERS.index(carrier)
        more = f", {_WRITER_LOG_PROB}" if log_probs and carrier == "registered" else ""
        for batch in arrow(
            session,
            f"SELECT position, {number}::int2 AS carrier, prompt, {completion} AS completion, "  # noqa: S608
            f"message::text AS message{more} "
            f"FROM {table} WHERE {here} AND completion IS NOT NULL",
        ):
            columns = {name: _plain(column) for name, column in zip(batch.schema.names, batch.columns, strict=True)}
            yield pa.RecordBatch.from_pydict(columns)


def prompts_after(session: Session, project: str, since: int, limit: int, watermark: int) -> pa.Table:
    """Returns the first `limit` prompts after position `since`, in the order of the log: position, prompt (JSON),
    conversation_id, completion_id; and once more those whose conversation a later event without the text named.
    """
    here = f"project_id = {literal(project)} AND position > {since:d} AND position <= {watermark:d}"
    carriers = " UNION ALL ".join(
        f"(SELECT position, prompt::text AS prompt, conversation_id, completion_id FROM {table} "  # noqa: S608
        f"WHERE {here} AND completion IS NOT NULL "
        f"ORDER BY position LIMIT {limit:d})"
        for table in ("events", "completions")
    )
    batches = arrow(session, f"SELECT * FROM ({carriers}) AS carried ORDER BY position LIMIT {limit:d}")  # noqa: S608
    texts = [(name, pa.string()) for name in ("prompt", "conversation_id", "completion_id")]
    schema = pa.schema([("position", pa.int64()), *texts])
    carried = pa.Table.from_batches(batches, schema)
    until = carried["position"][-1].as_py() if len(carried) == limit else watermark
    named = pa.Table.from_batches(_named_later(session, project, since, until), schema)
    return pa.concat_tables([carried, named]).sort_by("position") if len(named) else carried


def _named_later(session: Session, project: str, since: int, until: int) -> Iterator[pa.RecordBatch]:
    """Returns the events that name the conversation of an earlier text, with the columns of `prompts_after`."""
    same = "(t.project_id, t.completion_id) = (e.project_id, e.completion_id) AND t.position < e.position"
    return arrow(
        session,
        "SELECT * FROM (SELECT position, coalesce("  # noqa: S608 - literals
        f"(SELECT prompt::text FROM completions t WHERE {same}), "
        f"(SELECT prompt::text FROM events t WHERE {same} AND completion IS NOT NULL ORDER BY t.position LIMIT 1)"
        ") AS prompt, conversation_id, completion_id FROM events e "
        f"WHERE project_id = {literal(project)} AND position > {since:d} AND position <= {until:d} "
        "AND completion IS NULL AND conversation_id IS NOT NULL) AS named WHERE prompt IS NOT NULL ORDER BY position",
    )


def prompts_at(session: Session, project: str, carrier: Carrier, positions: Sequence[int]) -> dict[int, str]:
    """Returns the prompts of the completions that are carried at these positions, as JSON text."""
    table, _ = _CARRIED[carrier]
    prompts: dict[int, str] = {}
    for batch in arrow(
        session,
        f"SELECT position, prompt::text AS prompt FROM {table} "  # noqa: S608 - literals
        f"WHERE project_id = {literal(project)} AND position = ANY({literal(positions)}::bigint[])",
    ):
        prompts |= zip(batch["position"].to_pylist(), batch["prompt"].to_pylist(), strict=True)
    return prompts


def _with_conditions(events: pa.RecordBatch) -> pa.RecordBatch:
    """Returns the events with plain columns in place of extension types, and a column for each of `_FLAGS`."""
    columns = dict(zip(events.schema.names, map(_plain, events.columns), strict=True))
    flags = pl.Series(columns.pop("flags")).to_numpy()
    conditions = {name: pl.Series(flags & (1 << bit) != 0).to_arrow() for bit, name in enumerate(_FLAGS)}
    return pa.RecordBatch.from_pydict(columns | conditions)


def _plain(column: pa.Array) -> pa.Array:
    return column.storage if isinstance(column, pa.ExtensionArray) else column


def end(session: Session, project: str, watermark: int) -> datetime | None:
    """Returns the time at which the newest event up to `watermark` was received; None for an empty log."""
    received_at: datetime | None = session.scalar(
        text(
            "SELECT received_at FROM events WHERE project_id = :project AND position <= :watermark "
            "ORDER BY position DESC LIMIT 1"
        ),
        {"project": project, "watermark": watermark},
    )
    return received_at


def count(session: Session, project: str, watermark: int) -> int:
    """Returns the number of events up to `watermark`."""
    query = text("SELECT count(*) FROM events WHERE project_id = :project AND position <= :watermark")
    return session.execute(query, {"project": project, "watermark": watermark}).scalar_one()


def rating_median(session: Session, project: str, watermark: int, since: datetime, minimum: int) -> float | None:
    """Returns the median place of the ratings on their scales since then; None for fewer than `minimum`."""
    row = session.execute(
        text(
            """
            SELECT count(*), percentile_cont(0.5) WITHIN GROUP (ORDER BY (value - low) / (high - low))
            FROM events, LATERAL (
                SELECT (signal ->> 'value')::float8 AS value, (signal ->> 'minimum')::float8 AS low,
                       (signal ->> 'maximum')::float8 AS high) AS rating
            WHERE project_id = :project AND position <= :watermark AND signal ->> 'kind' = 'rating'
              AND coalesce(occurred_at, received_at) > :since
            """
        ),
        {"project": project, "watermark": watermark, "since": since},
    ).one()
    return None if row[0] < minimum else row[1]
