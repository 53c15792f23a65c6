"""A log in parts, each with every event about its completions. Pure, except for unnamed temporary files.

A hash of its id assigns a completion to a part. A preference is also about the completion that was not preferred, and
that statement stands or falls with the event. A part therefore holds such events of other completions too, and the
events with which their actors changed them, until it is known which ones stand.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from thumbwheel import wire

from app.feedback.reading.carriers import Carrier
from app.labels.whole_log.columns import as_arrow, as_numpy, not_preferred
from app.labels.whole_log.events import NAME, ComparisonEvents, Log, LogEvents
from app.labels.whole_log.read import WholeLogSource, read
from app.spill.batches import Spill

#: Events that are sorted into parts at a time; the batches of each part are then large enough for their overhead.
AT_ONCE = 1 << 17
#: New comparisons of edits are stored in the order of the log; this is the range of positions per step.
POSITIONS = 1 << 20

Keep = Callable[[pl.DataFrame], None]


class Logs(Protocol):
    """The parts of a log. Only one fits in memory: release a part before you request the next.

    actors  the actors of all parts; the events of each part refer to them by row, and each part's `actors` equals this
    """

    @property
    def actors(self) -> pl.Series: ...

    def __len__(self) -> int: ...

    def part(self, number: int) -> Log: ...


class Whole:
    """A log in one part."""

    def __init__(self, log: Log) -> None:
        self.actors = log.actors
        self._log = log

    def __len__(self) -> int:
        return 1

    def part(self, number: int) -> Log:
        return (self._log,)[number]


@contextmanager
def parted(
    source: WholeLogSource, rule: wire.EditRule, parts: int, keep: Keep, near: Path | None = None
) -> Iterator[Logs]:
    """Yields the log in `parts` parts. Each is read at its first request, and from then on loaded from disk.

    keep  receives the comparisons of edits that the source had not stored, in the order of the log, after all parts
          were read
    near  a folder on a disk with enough room: about 150 bytes an event
    """
    with closing(Spill(near)) as unread, closing(Spill(near)) as logs:
        yield _Parted(source, rule, parts, keep, unread, logs)


class _Parted:
    """The parts on disk. `unread`: the events by part, until all parts were read · `logs`: the parts that were read."""

    def __init__(
        self, source: WholeLogSource, rule: wire.EditRule, parts: int, keep: Keep, unread: Spill, logs: Spill
    ) -> None:
        self._source, self._rule, self._keep, self._unread, self._logs = source, rule, keep, unread, logs
        self._signals: list[Sequence[dict[str, Any]] | None] = [None] * parts
        actors = _sort_into_parts(source, unread, parts)
        self._actors, self.actors = actors, pl.Series("actor", actors, dtype=pl.String)

    def __len__(self) -> int:
        return len(self._signals)

    def part(self, number: int) -> Log:
        signals = self._signals[number]
        return self._read(number) if signals is None else self._stored(number, signals)

    def _read(self, number: int) -> Log:
        part = _PartSource(self._source, self._unread, number, len(self))
        log, new = read(part, self._rule, part.has)
        actor = as_numpy(pc.index_in(log.actors.to_arrow().cast(pa.string()), self._actors))
        log = replace(
            log,
            events=log.events._replace(actor=actor.astype(np.uint32)[log.events.actor]),
            actors=self.actors,
        )
        self._logs.keep_frame("events", number, pl.DataFrame(log.events._asdict()).with_columns(stands=log.stands))
        self._logs.keep_frame("compared", number, pl.DataFrame(log.compared._asdict()))
        self._logs.keep_frame("completions", number, log.completions.cast({NAME: pl.String}))
        self._logs.keep_frame("rewritten", number, log.rewritten)
        for (step,), rows in new.group_by(pl.col("position") // POSITIONS):
            self._logs.keep_frame("new", step, rows)
        self._signals[number] = log.signals
        if None not in self._signals:
            self._unread.close()
            for step in self._logs.numbers("new"):
                self._keep(self._logs.frame("new", step))
        return log

    def _stored(self, number: int, signals: Sequence[dict[str, Any]]) -> Log:
        events = self._logs.frame("events", number)
        return Log(
            events=LogEvents._make(events[name].to_numpy() for name in LogEvents._fields),
            stands=events["stands"].to_numpy(),
            compared=ComparisonEvents._make(
                self._logs.frame("compared", number)[name].to_numpy() for name in ComparisonEvents._fields
            ),
            signals=signals,
            completions=self._logs.frame("completions", number).with_columns(pl.col("checkpoint_id").cast(NAME)),
            actors=self.actors,
            rewritten=self._logs.frame("rewritten", number),
        )


def _part_of(ids: pa.Array, parts: int) -> NDArray[np.uint64]:
    return (pl.Series(ids, dtype=pl.String).hash() % parts).to_numpy()


def _sort_into_parts(source: WholeLogSource, unread: Spill, parts: int) -> pa.Array:
    """Writes all events to disk by part. Returns their actors."""
    actors = _Distinct()
    for batch in _together(source.events(), AT_ONCE):
        actors.add(batch["actor"])
        own = _part_of(batch["completion_id"], parts)
        _scatter(unread, "events", batch, own)
        changes = pc.or_(pc.is_valid(batch["supersedes"]), pc.match_substring(batch["signal"], '"retract"'))
        unread.keep("changes", 0, batch.filter(changes))
        rows, others = not_preferred(batch)
        other = _part_of(others, parts)
        foreign = other != own[rows]
        _scatter(unread, "foreign", batch.take(as_arrow(rows[foreign])), other[foreign])
    for batch in _together(source.registered(), AT_ONCE):
        _scatter(unread, "registered", batch, _part_of(batch["completion_id"], parts))
    for batch in _together(source.compared(), AT_ONCE):
        unread.keep("compared", 0, batch)
    return actors.values()


def _scatter(unread: Spill, name: str, batch: pa.RecordBatch, part: NDArray[np.uint64]) -> None:
    """Writes each row to its part."""
    order = np.argsort(part, kind="stable")
    ordered = batch.take(as_arrow(order))
    numbers, begins, counts = np.unique(part[order], return_index=True, return_counts=True)
    for number, begin, count in zip(numbers.tolist(), begins.tolist(), counts.tolist(), strict=True):
        unread.keep(name, number, ordered.slice(begin, count))


def _together(batches: Iterable[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
    """Yields the same rows in fewer batches, each of at least `rows` rows except the last."""
    waiting: list[pa.RecordBatch] = []
    for batch in batches:
        waiting.append(batch)
        if sum(map(len, waiting)) >= rows:
            joined = pa.concat_batches(waiting)
            waiting.clear()
            yield joined
    if waiting:
        yield pa.concat_batches(waiting)


class _Distinct:
    """A set of texts. Repetitions are removed whenever the collected texts have doubled."""

    def __init__(self) -> None:
        self._chunks: list[pa.Array] = []
        self._waiting = 0
        self._distinct = 0

    def add(self, texts: pa.Array) -> None:
        chunk = texts.unique()
        self._chunks.append(chunk)
        self._waiting += len(chunk)
        if self._waiting > max(self._distinct, AT_ONCE):
            self._chunks = [self.values()]
            self._distinct, self._waiting = len(self._chunks[0]), 0

    def values(self) -> pa.Array:
        return pa.chunked_array(self._chunks, pa.string()).unique()


@dataclass(frozen=True)
class _PartSource:
    """One part as a source of its own."""

    source: WholeLogSource
    unread: Spill
    number: int
    parts: int

    @property
    def segments(self) -> Sequence[str]:
        return self.source.segments

    def has(self, completion_ids: pa.Array) -> NDArray[np.bool_]:
        belongs: NDArray[np.bool_] = _part_of(completion_ids, self.parts) == self.number
        return belongs

    def events(self) -> Iterator[pa.RecordBatch]:
        """Yields the events about the part's completions, the preferences for others over them, and the changes to
        these preferences.
        """
        yield from self.unread.read("events", self.number)
        pairs = pl.DataFrame(schema={"completion_id": pl.String, "actor": pl.String})
        positions = pl.Series(dtype=pl.Int64)
        for batch in self.unread.read("foreign", self.number):
            pairs.extend(_columns(batch, *pairs.columns))
            positions.append(pl.Series(batch["position"]))
            yield batch
        if pairs.is_empty():
            return
        for batch in self.unread.read("changes", 0):
            changes = _columns(batch, *pairs.columns, "position").with_row_index("row")
            changes = changes.filter(~pl.col("position").is_in(positions.implode()))
            rows = changes.join(pairs, on=pairs.columns, how="semi")["row"]
            yield batch.take(rows.to_arrow())

    def positions(self, event_ids: Collection[str]) -> Mapping[str, int]:
        return self.source.positions(event_ids)

    def registered(self) -> Iterator[pa.RecordBatch]:
        return self.unread.read("registered", self.number)

    def named(self, completion_ids: Sequence[str]) -> Iterable[pa.RecordBatch]:
        return self.source.named(completion_ids)

    def compared(self) -> Iterator[pa.RecordBatch]:
        """Yields the comparisons of edits of all parts."""
        return self.unread.read("compared", 0)

    def texts(self, carrier: Carrier, positions: Sequence[int]) -> Mapping[int, str]:
        return self.source.texts(carrier, positions)

    def edited(self, positions: Sequence[int]) -> Mapping[int, str]:
        return self.source.edited(positions)


def _columns(batch: pa.RecordBatch, *names: str) -> pl.DataFrame:
    return pl.DataFrame({name: pl.Series(batch[name]) for name in names})
