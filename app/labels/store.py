"""SQL of the labels: everything that was said, completion by completion."""

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl
import pyarrow as pa
from sqlalchemy import delete, text
from sqlalchemy.orm import Session

from app.database import arrow, is_any_of, literal
from app.labels.event_time import TIMES, TIMES_SQL, with_moments
from app.labels.not_preferred import ID_SQL
from app.labels.tables import EditComparison
from app.labels.whole_log.read import CARRIERS, COMPARED, Carrier

CHUNK = 500
KEPT_AT_ONCE = 10_000
NAMED_AT_ONCE = 20_000


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


_EVENT = (
    f"position, completion_id, actor, {TIMES_SQL}, {_BRIEF} AS signal, "
    "completion IS NOT NULL AS carries, never_train, checkpoint_id, supersedes"
)
_EVENT_COLUMNS = pa.schema(
    [
        ("position", pa.int64()),
        ("completion_id", pa.string()),
        ("actor", pa.string()),
        *TIMES,
        ("signal", pa.string()),
        ("carries", pa.bool_()),
        ("never_train", pa.bool_()),
        ("checkpoint_id", pa.binary(16)),
        ("supersedes", pa.string()),
    ]
)


@dataclass(frozen=True)
class Source:
    """The log up to a watermark, or the events about a few completions, for `app.labels.whole_log.read`."""

    session: Session
    project: str
    watermark: int
    about: Collection[str] | None = None

    def events(self) -> Iterator[pa.RecordBatch]:
        """What each event says, without prompt and completion, in no order: position, completion_id, actor, moment and
        by_arrival (see `policy.Signal`), signal (JSON text without texts; a long preference has the other one's id and
        whether it `carries` a text), carries (whether it has a completion's text), never_train, checkpoint_id
        (16 bytes), supersedes.
        """
        if self.about is not None:
            yield with_moments(self._events_about(self.about))
            return
        batches = arrow(self.session, f"SELECT {_EVENT} FROM events WHERE {self._here}")  # noqa: S608 - literals
        for batch in batches:  # JSON and UUIDs come as what they are made of
            columns = {name: _plain(column) for name, column in zip(batch.schema.names, batch.columns, strict=True)}
            yield with_moments(pa.RecordBatch.from_pydict(columns))

    def _events_about(self, completion_ids: Collection[str]) -> pa.RecordBatch:
        """The same of a few completions, by the session: to begin a stream takes longer than a few rows."""
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
        """Where the events of these ids lie."""
        found = self.session.execute(
            text("SELECT event_id, position FROM event_ids WHERE project_id = :project AND event_id = ANY(:ids)"),
            {"project": self.project, "ids": list(event_ids)},
        )
        return dict(found.tuples().all())

    def registered(self) -> Iterator[pa.RecordBatch]:
        """completion_id, position and checkpoint_id of the registered completions that an event is about."""
        return self._registered(
            f"completion_id IN (SELECT completion_id FROM events WHERE {self._here})"  # noqa: S608 - literals
        )

    def named(self, completion_ids: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """The same of the registered ones among these."""
        for start in range(0, len(completion_ids), NAMED_AT_ONCE):
            some = completion_ids[start : start + NAMED_AT_ONCE]
            yield from self._registered(f"completion_id = ANY({literal(some)}::text[])")

    def _registered(self, condition: str) -> Iterator[pa.RecordBatch]:
        return arrow(
            self.session,
            "SELECT completion_id, position, checkpoint_id::text AS checkpoint_id FROM completions "  # noqa: S608
            f"WHERE {self._here} AND {condition}",
        )

    @property
    def _here(self) -> str:
        return f"project_id = {literal(self.project)} AND position <= {self.watermark:d}"

    def compared(self) -> Iterator[pa.RecordBatch]:
        """What is kept of edits, as `reading.COMPARED`."""
        return arrow(
            self.session,
            "SELECT position, original, alike, change, long, key FROM edit_comparisons "  # noqa: S608 - literals
            f"WHERE project_id = {literal(self.project)} AND position <= {self.watermark:d} ORDER BY position",
        )

    def texts(self, carrier: Carrier, positions: Sequence[int]) -> dict[int, str]:
        """The texts of the completions that are carried there."""
        table, completion = _CARRIED[carrier]
        return self._texts_at(positions, f"{completion} AS text FROM {table}")

    def edited(self, positions: Sequence[int]) -> dict[int, str]:
        """What was made of completions by the edits there."""
        return self._texts_at(positions, "signal ->> 'text' AS text FROM events")

    def _texts_at(self, positions: Sequence[int], what: str) -> dict[int, str]:
        found: dict[int, str] = {}
        for batch in arrow(
            self.session,
            f"SELECT position, {what} "
            f"WHERE project_id = {literal(self.project)} AND position = ANY({literal(positions)}::bigint[])",
        ):
            found |= zip(batch["position"].to_pylist(), batch["text"].to_pylist(), strict=True)
        return found


def carried(session: Session, project: str, watermark: int, *, since: int = 0) -> Iterator[pa.RecordBatch]:
    """All texts that events have of their completions, and all that were registered: position, carrier (number in
    `reading.CARRIERS`), prompt (JSON text), completion; those after position `since`. In no order; without the other
    sides of preferences, which `Source.texts` has."""
    here = f"project_id = {literal(project)} AND position > {since:d} AND position <= {watermark:d}"
    for carrier in ("event", "registered"):
        table, completion = _CARRIED[carrier]
        number = CARRIERS.index(carrier)
        for batch in arrow(
            session,
            f"SELECT position, {number}::int2 AS carrier, prompt, {completion} AS completion FROM {table} "  # noqa: S608
            f"WHERE {here} AND completion IS NOT NULL",
        ):
            columns = {name: _plain(column) for name, column in zip(batch.schema.names, batch.columns, strict=True)}
            yield pa.RecordBatch.from_pydict(columns)


def prompts_after(session: Session, project: str, since: int, limit: int, watermark: int) -> pa.Table:
    """The first `limit` prompts that were carried after `since`, in the order of the log: position, prompt (JSON),
    conversation_id, completion_id; and again those of which an event without the text named the conversation later."""
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
    """As `prompts_after`: the events that name the conversation of a text that came before."""
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
    """Returns the prompts of the completions that are carried there, as JSON text."""
    table, _ = _CARRIED[carrier]
    found: dict[int, str] = {}
    for batch in arrow(
        session,
        f"SELECT position, prompt::text AS prompt FROM {table} "  # noqa: S608 - literals
        f"WHERE project_id = {literal(project)} AND position = ANY({literal(positions)}::bigint[])",
    ):
        found |= zip(batch["position"].to_pylist(), batch["prompt"].to_pylist(), strict=True)
    return found


def _plain(column: pa.Array) -> pa.Array:
    return column.storage if isinstance(column, pa.ExtensionArray) else column


_KEEP = text("""
    INSERT INTO edit_comparisons (project_id, position, original, alike, change, long, key)
    SELECT :project, * FROM unnest(
        CAST(:position AS bigint[]), CAST(:original AS bigint[]), CAST(:alike AS float8[]), CAST(:change AS int2[]),
        CAST(:long AS boolean[]), CAST(:key AS bytea[]))
    ON CONFLICT (project_id, position) DO UPDATE SET
        original = EXCLUDED.original, alike = EXCLUDED.alike, change = EXCLUDED.change, long = EXCLUDED.long,
        key = EXCLUDED.key
""")


def keep_compared(session: Session, project: str, found: pl.DataFrame) -> None:
    """Keep how edits compare with their originals, in the place of older comparisons."""
    rows = found.sort("position")  # two that keep the same ones wait for each other, not in a circle
    for part in rows.iter_slices(KEPT_AT_ONCE):
        session.execute(_KEEP, {"project": project, **{name: part[name].to_list() for name in COMPARED}})


def forget_compared(session: Session, project: str, positions: Collection[int]) -> int:
    """Deletes comparisons whose edit or original was at one of these positions; returns how many there were."""
    at = list(positions)
    deleted = session.execute(
        delete(EditComparison)
        .where(
            EditComparison.project_id == project,
            is_any_of(EditComparison.position, at) | is_any_of(EditComparison.original, at),
        )
        .returning(EditComparison.position)
    )
    return len(deleted.all())


def as_of(session: Session, project: str, watermark: int) -> datetime | None:
    """When the newest event up to `watermark` was received; None of an empty log."""
    found: datetime | None = session.scalar(
        text(
            "SELECT received_at FROM events WHERE project_id = :project AND position <= :watermark "
            "ORDER BY position DESC LIMIT 1"
        ),
        {"project": project, "watermark": watermark},
    )
    return found


def many(session: Session, project: str, watermark: int) -> int:
    """How many events there are up to `watermark`."""
    counted = text("SELECT count(*) FROM events WHERE project_id = :project AND position <= :watermark")
    return session.execute(counted, {"project": project, "watermark": watermark}).scalar_one()


def rating_median(session: Session, project: str, watermark: int, since: datetime, minimum: int) -> float | None:
    """The median place of the ratings on their scales since then; None for fewer than `minimum`."""
    found = session.execute(
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
    return None if found[0] < minimum else found[1]
