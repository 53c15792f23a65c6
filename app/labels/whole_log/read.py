"""Reads a project's log as `Log`: which events stand, where the texts are, how much the edits changed. Pure."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Protocol
from uuid import UUID

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from thumbwheel import wire

from app.feedback.reading.carriers import CARRIERS, Carrier
from app.labels.edits import FLOOR, SEVERITIES, columns, compared, floor_of, judged
from app.labels.verdicts import rewrite_weight
from app.labels.whole_log.columns import EventColumns, as_arrow, as_numpy, segments_of
from app.labels.whole_log.events import NAME, UNKNOWN_EDIT, Log, LogEvents, text_key

LATEST = np.iinfo(np.int64).max
#: Edits whose texts are in memory at a time.
EDITS = 4096
#: How an edit compares with its original (see `edits.Comparison`), and the key of its text. `original`: the position of
#: the original's text.
COMPARED = pl.Schema(
    {
        "position": pl.Int64,
        "original": pl.Int64,
        "alike": pl.Float64,
        "change": pl.Int8,
        "long": pl.Boolean,
        "key": pl.Binary,
    }
)


class WholeLogSource(Protocol):
    """A source of the log: its events, registered completions, texts and stored comparisons of edits."""

    @property
    def segments(self) -> Sequence[str]: ...

    def events(self) -> Iterable[pa.RecordBatch]: ...

    def positions(self, event_ids: Collection[str]) -> Mapping[str, int]: ...

    def registered(self) -> Iterable[pa.RecordBatch]: ...

    def named(self, completion_ids: Sequence[str]) -> Iterable[pa.RecordBatch]: ...

    def compared(self) -> Iterable[pa.RecordBatch]: ...

    def texts(self, carrier: Carrier, positions: Sequence[int]) -> Mapping[int, str]: ...

    def edited(self, positions: Sequence[int]) -> Mapping[int, str]: ...


def read(
    source: WholeLogSource, rule: wire.EditRule, has: Callable[[pa.Array], NDArray[np.bool_]] | None = None
) -> tuple[Log, pl.DataFrame]:
    """Returns the log, with edits judged by `rule`; and the comparisons of edits that the source had not stored.

    has  returns for completion ids which of them are wanted; events about others only decide which events stand
    """
    rows = EventColumns.of(source.events(), len(source.segments))
    stands = _standing(source, rows)
    if has is not None:
        wanted = has(rows.completions)
        stands, rows = stands[wanted[rows.completion]], rows.about(wanted)
    carriers = _Carriers.of(source, rows)
    signal, rewritten, new = _edits(source, rule, rows, stands, carriers)
    log = Log(
        events=LogEvents(rows.position, rows.completion, rows.actor, rows.moment, rows.by_arrival, signal),
        stands=stands,
        compared=rows.compared,
        signals=rows.signals.bodies,
        completions=carriers.frame(rows),
        actors=pl.Series("actor", rows.actors, dtype=pl.String),
        rewritten=rewritten,
    )
    return log, new


def standing(source: WholeLogSource) -> dict[int, bool]:
    """Returns for each event of the source, by position, whether it stands: it retracts nothing itself, and its actor
    has neither retracted nor replaced it.
    """
    rows = EventColumns.of(source.events())
    stands = _standing(source, rows)
    own = rows.source == np.arange(len(rows.source))
    return dict(zip(rows.position[own].tolist(), stands[own].tolist(), strict=True))


def _standing(source: WholeLogSource, rows: EventColumns) -> NDArray[np.bool_]:
    """Returns for each row whether it counts: it is no retraction, and its actor has neither retracted nor replaced
    it.
    """
    kinds = np.array([body["kind"] for body in rows.signals.bodies], dtype=object)
    retract = (kinds == "retract")[rows.signal]
    stands = ~retract
    event = rows.source == np.arange(len(rows.source))
    pair = rows.completion.astype(np.int64) << 32 | rows.actor

    # A retraction without `supersedes` retracts all that its actor said of the completion before.
    everything = retract.copy()
    everything[list(rows.supersedes)] = False
    if everything.any():
        about = np.zeros(len(rows.completions), dtype=bool)
        about[rows.completion[everything]] = True
        affected = np.flatnonzero(event & about[rows.completion])
        affected = affected[np.isin(pair[affected], pair[everything])]
        sequence = np.where(rows.by_arrival[affected], rows.position[affected], 0)
        order = affected[np.lexsort((everything[affected], sequence, rows.moment[affected], pair[affected]))]
        # Such a retraction is the last event of its moment. Counted from the end of each pair's events: an event falls
        # if a retraction follows it.
        following = np.cumsum(everything[order][::-1])[::-1] - everything[order]
        ends = np.flatnonzero(np.append(pair[order][1:] != pair[order][:-1], True))
        number = np.searchsorted(ends, np.arange(len(order)))
        stands[order[following > following[ends[number]]]] = False

    if rows.supersedes:
        positions = source.positions(set(rows.supersedes.values()))
        replacing = [row for row, event_id in rows.supersedes.items() if event_id in positions]
        wanted = np.array([positions[rows.supersedes[row]] for row in replacing], dtype=np.int64)
        events = np.flatnonzero(event)
        events = events[np.argsort(rows.position[events])]
        index = np.searchsorted(rows.position[events], wanted)
        there = index < len(events)  # events after the watermark are not
        replaced, by = events[index[there]], np.array(replacing, dtype=np.int64)[there]
        same = (rows.position[replaced] == wanted[there]) & (pair[replaced] == pair[by])
        stands[replaced[same]] = False
    return stands[rows.source] & stands


@dataclass(frozen=True)
class _Carriers:
    """The location of each completion's text.

    position    position of the registered completion or of the first event that carries it, else of the first event
    known       whether there is a text
    carrier     index of its carrier in `CARRIERS`
    never_train whether an event excludes it from training
    checkpoint  index of its checkpoint in `checkpoints`, whose last element is None
    segments    see `EventColumns`: the registered values, else those of the first event that has one
    """

    position: NDArray[np.int64]
    known: NDArray[np.bool_]
    carrier: NDArray[np.uint8]
    never_train: NDArray[np.bool_]
    checkpoint: NDArray[np.int32]
    checkpoints: Sequence[str | None]
    segments: NDArray[np.int32]

    @staticmethod
    def of(source: WholeLogSource, rows: EventColumns) -> "_Carriers":
        count = len(rows.completions)
        first, carried = np.full(count, LATEST), np.full(count, LATEST)
        np.minimum.at(first, rows.completion, rows.position)
        np.minimum.at(carried, rows.completion[rows.carries], rows.position[rows.carries])
        known = carried < LATEST
        at_carrier = rows.carries & (rows.position == carried[rows.completion])
        other = rows.source != np.arange(len(rows.source))
        carrier = np.full(count, CARRIERS.index("event"), dtype=np.uint8)
        carrier[rows.completion[at_carrier & other]] = CARRIERS.index("rejected")

        naming = _first(rows, rows.checkpoint >= 0)
        checkpoint = np.full(count, -1, dtype=np.int32)
        checkpoint[rows.completion[naming]] = rows.checkpoint[naming]
        names = {str(UUID(bytes=name)): number for number, name in enumerate(rows.checkpoints.to_pylist())}
        segments = np.zeros((count, rows.segments.shape[1]), dtype=np.int32)
        for column, hashes in enumerate(rows.segments.T):
            naming = _first(rows, hashes != 0)
            segments[rows.completion[naming], column] = hashes[naming]

        position = np.where(known, carried, first)
        named_alone = np.ones(count, dtype=bool)
        named_alone[rows.completion[~other]] = False
        others = rows.completions.filter(as_arrow(named_alone)).to_pylist()
        for batch in chain(source.registered(), source.named(others)):
            indices = as_numpy(pc.index_in(batch["completion_id"], rows.completions))
            known[indices], carrier[indices] = True, CARRIERS.index("registered")
            position[indices] = as_numpy(batch["position"])
            registered = segments_of(batch)
            segments[indices] = np.where(registered != 0, registered, segments[indices])
            for index, name in zip(indices.tolist(), batch["checkpoint_id"].to_pylist(), strict=True):
                if name is not None:
                    checkpoint[index] = names.setdefault(name, len(names))
        never_train = np.zeros(count, dtype=bool)
        never_train[rows.completion[rows.never_train]] = True
        checkpoint[checkpoint < 0] = len(names)
        return _Carriers(position, known, carrier, never_train, checkpoint, [*names, None], segments)

    def kind(self, completion: NDArray[np.uint32]) -> list[Carrier]:
        """Returns the carrier of the text of each of these completions."""
        return [CARRIERS[number] for number in self.carrier[completion].tolist()]

    def frame(self, rows: EventColumns) -> pl.DataFrame:
        return pl.DataFrame(
            {
                "completion_id": pl.Series(rows.completions, dtype=pl.String),
                "checkpoint_id": pl.Series(self.checkpoints, dtype=NAME).gather(self.checkpoint),
                "position": self.position,
                "known": self.known,
                "carrier": self.carrier,
                "never_train": self.never_train,
                **{f"segment_{column}": hashes for column, hashes in enumerate(self.segments.T)},
            }
        )


def _first(rows: EventColumns, has: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Returns for each row whether it is the first about its completion among those that `has` marks."""
    first = np.full(len(rows.completions), LATEST)
    np.minimum.at(first, rows.completion[has], rows.position[has])
    return has & (rows.position == first[rows.completion])


def _edits(
    source: WholeLogSource, rule: wire.EditRule, rows: EventColumns, stands: NDArray[np.bool_], carriers: _Carriers
) -> tuple[NDArray[np.uint32], pl.DataFrame, pl.DataFrame]:
    """Returns the signals of all rows, those of edits by severity; the edited texts that become rows of their own:
    position and key; and the new comparisons.

    The severity is unknown if the original's text is not known, or the edit does not stand.
    """
    severities = (*SEVERITIES, UNKNOWN_EDIT)
    numbers = [rows.signals.number({"kind": "edit", "severity": name}) for name in severities]
    row = rows.edit_rows[stands[rows.edit_rows]]
    row = row[carriers.known[rows.completion[row]]]
    row = row[np.argsort(rows.position[row])]
    position, completion = rows.position[row], rows.completion[row]
    original = carriers.position[completion]

    severity = np.full(len(row), -1, dtype=np.int8)
    stored = _stored(source, position)
    index = np.searchsorted(position, stored["position"].to_numpy())
    same = stored["original"].to_numpy() == original[index]
    stored, index = stored.filter(same), index[same]
    severity[index] = _judged(stored, rule, FLOOR)
    known = severity[index] >= 0
    stored, index = stored.filter(known), index[known]

    missing = np.flatnonzero(severity < 0)
    floor = floor_of(rule)
    new = _compared(source, floor, position[missing], original[missing], carriers.kind(completion[missing]))
    severity[missing] = _judged(new, rule, floor)
    signal = rows.signal.copy()
    signal[row] = np.array(numbers, dtype=np.uint32)[severity]

    own = np.array([rewrite_weight(rule, name) is not None for name in SEVERITIES], dtype=bool)[severity]
    keys = [table.select("position", "key").filter(own[which]) for table, which in ((stored, index), (new, missing))]
    return signal, pl.concat(keys), new if floor == FLOOR else new.clear()


def _stored(source: WholeLogSource, position: NDArray[np.int64]) -> pl.DataFrame:
    """Returns the stored comparisons of the edits at these positions, which ascend."""
    frames = (pl.DataFrame(pl.from_arrow(batch)).cast(COMPARED) for batch in source.compared())
    wanted = (frame.filter(_are_among(frame["position"].to_numpy(), position)) for frame in frames)
    return pl.concat([pl.DataFrame(schema=COMPARED), *wanted])


def _are_among(values: NDArray[np.int64], ascending: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Returns for each value whether it is in `ascending`; much faster than `np.isin`, which ignores the order."""
    if not len(ascending):
        return np.zeros(len(values), dtype=bool)
    index = np.searchsorted(ascending, values)
    return ascending[np.minimum(index, len(ascending) - 1)] == values


def _judged(comparisons: pl.DataFrame, rule: wire.EditRule, floor: float) -> NDArray[np.int8]:
    alike, change, long = (comparisons[name].to_numpy() for name in ("alike", "change", "long"))
    return judged(alike, change, long, rule, floor=floor)


def _compared(
    source: WholeLogSource,
    floor: float,
    position: NDArray[np.int64],
    original: NDArray[np.int64],
    kind: Sequence[Carrier],
) -> pl.DataFrame:
    """Returns the comparisons of the edits at `position` with the texts at `original`, in the same order."""
    parts = [pl.DataFrame(schema=COMPARED)]
    for start in range(0, len(position), EDITS):
        part = slice(start, start + EDITS)
        wanted: dict[Carrier, list[int]] = {}
        for carrier, at in zip(kind[part], original[part].tolist(), strict=True):
            wanted.setdefault(carrier, []).append(at)
        texts = {carrier: source.texts(carrier, sorted(set(positions))) for carrier, positions in wanted.items()}
        by_position = source.edited(position[part].tolist())
        edited = [by_position[at] for at in position[part].tolist()]
        originals = [texts[carrier][at] for carrier, at in zip(kind[part], original[part].tolist(), strict=True)]
        alike, change, long = columns(compared(originals, edited, floor=floor))
        values = position[part], original[part], alike, change, long, list(map(text_key, edited))
        parts.append(pl.DataFrame(dict(zip(COMPARED, values, strict=True)), COMPARED))
    return pl.concat(parts)
