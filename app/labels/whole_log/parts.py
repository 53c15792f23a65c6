"""A log in parts: of each completion all that was said is in one of them. Pure but for files without a name.

A completion belongs to a part by a hash of its id. What is said of it in an event about another one, as the side of a
preference that was not preferred, stands or falls with that event: a part has those events, too, and what its actors
said to change them, until it is known what stands.
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
from app.labels.whole_log.events import NAME, Compared, Events, Log
from app.labels.whole_log.read import Source, read
from app.spill.batches import Spill

#: Events that are sorted into parts at a time: each part then gets batches that are worth their overhead.
AT_ONCE = 1 << 17
#: New comparisons of edits are kept in the order of the log, from so many positions at a time.
POSITIONS = 1 << 20

Keep = Callable[[pl.DataFrame], None]


class Logs(Protocol):
    """The parts of a log, one at a time in memory: let go of one before asking for the next.

    actors  of all parts; each part's events have their numbers in it, and its `actors` are these
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
def parted(source: Source, rule: wire.EditRule, parts: int, keep: Keep, near: Path | None = None) -> Iterator[Logs]:
    """The log in so many parts, each read when it is asked for first, and then had from disk.

    keep  gets the comparisons of edits that the source had not kept, in the order of the log, once all parts were read
    near  a folder on the disk that has room: about 150 bytes an event
    """
    with closing(Spill(near)) as said, closing(Spill(near)) as logs:
        yield _Parted(source, rule, parts, keep, said, logs)


class _Parted:
    """said: the log's events by their parts, until all parts were read · logs: what was read."""

    def __init__(self, source: Source, rule: wire.EditRule, parts: int, keep: Keep, said: Spill, logs: Spill) -> None:
        self._source, self._rule, self._keep, self._said, self._logs = source, rule, keep, said, logs
        self._signals: list[Sequence[dict[str, Any]] | None] = [None] * parts
        actors = _sorted_out(source, said, parts)
        self._actors, self.actors = actors, pl.Series("actor", actors, dtype=pl.String)

    def __len__(self) -> int:
        return len(self._signals)

    def part(self, number: int) -> Log:
        signals = self._signals[number]
        return self._read(number) if signals is None else self._kept(number, signals)

    def _read(self, number: int) -> Log:
        part = _Part(self._source, self._said, number, len(self))
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
        for (step,), some in new.group_by(pl.col("position") // POSITIONS):
            self._logs.keep_frame("new", step, some)
        self._signals[number] = log.signals
        if None not in self._signals:
            self._said.close()
            for step in self._logs.numbers("new"):
                self._keep(self._logs.frame("new", step))
        return log

    def _kept(self, number: int, signals: Sequence[dict[str, Any]]) -> Log:
        events = self._logs.frame("events", number)
        return Log(
            events=Events._make(events[name].to_numpy() for name in Events._fields),
            stands=events["stands"].to_numpy(),
            compared=Compared._make(self._logs.frame("compared", number)[name].to_numpy() for name in Compared._fields),
            signals=signals,
            completions=self._logs.frame("completions", number).with_columns(pl.col("checkpoint_id").cast(NAME)),
            actors=self.actors,
            rewritten=self._logs.frame("rewritten", number),
        )


def _part_of(ids: pa.Array, parts: int) -> NDArray[np.uint64]:
    return (pl.Series(ids, dtype=pl.String).hash() % parts).to_numpy()


def _sorted_out(source: Source, said: Spill, parts: int) -> pa.Array:
    """Everything that was said on disk, by parts; who said it."""
    actors = _Different()
    for batch in _together(source.events(), AT_ONCE):
        actors.add(batch["actor"])
        own = _part_of(batch["completion_id"], parts)
        _scatter(said, "events", batch, own)
        changes = pc.or_(pc.is_valid(batch["supersedes"]), pc.match_substring(batch["signal"], '"retract"'))
        said.keep("changes", 0, batch.filter(changes))
        rows, others = not_preferred(batch)
        other = _part_of(others, parts)
        foreign = other != own[rows]
        _scatter(said, "foreign", batch.take(as_arrow(rows[foreign])), other[foreign])
    for batch in _together(source.registered(), AT_ONCE):
        _scatter(said, "registered", batch, _part_of(batch["completion_id"], parts))
    for batch in _together(source.compared(), AT_ONCE):
        said.keep("compared", 0, batch)
    return actors.found()


def _scatter(said: Spill, name: str, batch: pa.RecordBatch, part: NDArray[np.uint64]) -> None:
    """Each row to its part."""
    order = np.argsort(part, kind="stable")
    ordered = batch.take(as_arrow(order))
    which, begins, counts = np.unique(part[order], return_index=True, return_counts=True)
    for number, begin, count in zip(which.tolist(), begins.tolist(), counts.tolist(), strict=True):
        said.keep(name, number, ordered.slice(begin, count))


def _together(batches: Iterable[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
    """The same rows in fewer batches, of at least so many but for the last."""
    waiting: list[pa.RecordBatch] = []
    for batch in batches:
        waiting.append(batch)
        if sum(map(len, waiting)) >= rows:
            joined = pa.concat_batches(waiting)
            waiting.clear()
            yield joined
    if waiting:
        yield pa.concat_batches(waiting)


class _Different:
    """Texts, each once; looked through as often as they double."""

    def __init__(self) -> None:
        self._chunks: list[pa.Array] = []
        self._waiting = 0
        self._found = 0

    def add(self, texts: pa.Array) -> None:
        chunk = texts.unique()
        self._chunks.append(chunk)
        self._waiting += len(chunk)
        if self._waiting > max(self._found, AT_ONCE):
            self._chunks = [self.found()]
            self._found, self._waiting = len(self._chunks[0]), 0

    def found(self) -> pa.Array:
        return pa.chunked_array(self._chunks, pa.string()).unique()


@dataclass(frozen=True)
class _Part:
    """One part as a source of its own."""

    source: Source
    said: Spill
    number: int
    parts: int

    def has(self, completion_ids: pa.Array) -> NDArray[np.bool_]:
        found: NDArray[np.bool_] = _part_of(completion_ids, self.parts) == self.number
        return found

    def events(self) -> Iterator[pa.RecordBatch]:
        """Those about its own completions, preferences of others over its own, and what changes these."""
        yield from self.said.read("events", self.number)
        pairs = pl.DataFrame(schema={"completion_id": pl.String, "actor": pl.String})
        positions = pl.Series(dtype=pl.Int64)
        for batch in self.said.read("foreign", self.number):
            pairs.extend(_columns(batch, *pairs.columns))
            positions.append(pl.Series(batch["position"]))
            yield batch
        if pairs.is_empty():
            return
        for batch in self.said.read("changes", 0):
            changes = _columns(batch, *pairs.columns, "position").with_row_index("row")
            changes = changes.filter(~pl.col("position").is_in(positions.implode()))
            rows = changes.join(pairs, on=pairs.columns, how="semi")["row"]
            yield batch.take(rows.to_arrow())

    def positions(self, event_ids: Collection[str]) -> Mapping[str, int]:
        return self.source.positions(event_ids)

    def registered(self) -> Iterator[pa.RecordBatch]:
        return self.said.read("registered", self.number)

    def named(self, completion_ids: Sequence[str]) -> Iterable[pa.RecordBatch]:
        return self.source.named(completion_ids)

    def compared(self) -> Iterator[pa.RecordBatch]:
        """Of all parts."""
        return self.said.read("compared", 0)

    def texts(self, carrier: Carrier, positions: Sequence[int]) -> Mapping[int, str]:
        return self.source.texts(carrier, positions)

    def edited(self, positions: Sequence[int]) -> Mapping[int, str]:
        return self.source.edited(positions)


def _columns(batch: pa.RecordBatch, *names: str) -> pl.DataFrame:
    return pl.DataFrame({name: pl.Series(batch[name]) for name in names})
