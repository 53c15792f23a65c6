"""Turns the events of a log from Arrow batches into columns, with numbers for ids and signals. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from typing import Any, NamedTuple

import msgspec
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from app.feedback.reading.not_preferred import EVEN, NOT_PREFERRED, id_of
from app.labels.whole_log.events import UNKNOWN_EDIT, ComparisonEvents, id_hash


class _Signal(msgspec.Struct):
    """The fields of a signal that can differ for each event; see `LogSource.events`."""

    kind: str
    rejected: str | None = None
    rejected_completion_id: str | None = None
    carries: bool = False
    tie: bool | None = None

    def other(self, completion_id: str) -> str:
        """Returns the id of the completion that was not preferred."""
        return id_of(completion_id, self.rejected, self.rejected_completion_id)


_SIGNAL = msgspec.json.Decoder(_Signal)


class _BatchColumns(NamedTuple):
    """The events of one batch, or the sides of its preferences that were not preferred."""

    position: NDArray[np.int64]
    completion: pa.DictionaryArray
    actor: pa.DictionaryArray
    moment: NDArray[np.int64]
    by_arrival: NDArray[np.bool_]
    signal: NDArray[np.uint32]
    carries: NDArray[np.bool_]
    never_train: NDArray[np.bool_]
    checkpoint: pa.DictionaryArray
    segments: NDArray[np.int32]


class Signals:
    """Numbers for the distinct signals. Without their texts there are few."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self._numbers: dict[str, int] = {}

    def number(self, body: Mapping[str, Any], raw: str | None = None) -> int:
        key = raw or msgspec.json.encode(body).decode()
        if key not in self._numbers:
            self._numbers[key] = len(self.bodies)
            self.bodies.append(dict(body))
        return self._numbers[key]


@dataclass(frozen=True)
class EventColumns:
    """The log's events in columns. A preference has two rows: `source` is the row of the event itself.

    segments  a column of hashes for each key of metadata that was asked for, 0 without a value
    """

    position: NDArray[np.int64]
    completion: NDArray[np.uint32]
    actor: NDArray[np.uint32]
    moment: NDArray[np.int64]
    by_arrival: NDArray[np.bool_]
    signal: NDArray[np.uint32]
    carries: NDArray[np.bool_]
    never_train: NDArray[np.bool_]
    checkpoint: NDArray[np.int32]  # -1: none
    segments: NDArray[np.int32]
    source: NDArray[np.int32]  # -1: no longer among these rows
    completions: pa.Array  # ids
    actors: pa.Array
    checkpoints: pa.Array
    signals: Signals
    edit_rows: NDArray[np.int64]
    compared: ComparisonEvents
    supersedes: Mapping[int, str]  # row → event id

    @staticmethod
    def of(batches: Iterable[pa.RecordBatch], keys: int = 0) -> "EventColumns":
        signals = Signals()
        signals.number({"kind": "preference"})
        not_preferred, even = (signals.number({"kind": kind}) for kind in (NOT_PREFERRED, EVEN))
        parts: list[_BatchColumns] = []
        sources, edit_rows = [], []
        compared = [ComparisonEvents.none()]
        supersedes: dict[int, str] = {}
        start = 0
        for batch in batches:
            raw = batch["signal"].dictionary_encode()
            texts = raw.dictionary.to_pylist()
            distinct = [_SIGNAL.decode(text) for text in texts]
            numbers = np.array(list(map(_number, repeat(signals), distinct, texts)), dtype=np.uint32)
            indices = as_numpy(raw.indices)
            actor = batch["actor"].dictionary_encode()
            position, moment = as_numpy(batch["position"]), as_numpy(batch["moment"].cast(pa.int64()))
            here = np.arange(start, start + len(batch), dtype=np.int32)
            parts.append(
                _BatchColumns(
                    position, batch["completion_id"].dictionary_encode(), actor, moment,
                    as_numpy(batch["by_arrival"]), numbers[indices],
                    as_numpy(batch["carries"]), as_numpy(batch["never_train"]),
                    batch["checkpoint_id"].dictionary_encode(), segments_of(batch),
                )
            )  # fmt: skip
            sources.append(here)
            replaced = batch["supersedes"]
            if replaced.null_count < len(replaced):
                rows = np.flatnonzero(as_numpy(replaced.is_valid()))
                supersedes |= zip((start + rows).tolist(), pl.Series(replaced).gather(rows).to_list(), strict=True)
            kinds = np.array([signal.kind for signal in distinct], dtype=object)
            edit_rows.append(start + np.flatnonzero((kinds == "edit")[indices]))
            start += len(batch)
            preferences = np.flatnonzero((kinds == "preference")[indices])
            if len(preferences):
                others = [distinct[index] for index in indices[preferences].tolist()]
                ids = pl.Series(batch["completion_id"]).gather(preferences)
                other_ids = _strings(map(_Signal.other, others, ids.to_list()))
                compared.append(ComparisonEvents(here[preferences], id_hash(other_ids)))
                compared.append(
                    ComparisonEvents(np.arange(start, start + len(ids), dtype=np.int32), id_hash(ids.to_arrow()))
                )
                parts.append(
                    _BatchColumns(
                        position[preferences], other_ids.dictionary_encode(), actor.take(as_arrow(preferences)),
                        moment[preferences], parts[-1].by_arrival[preferences],
                        np.array([even if other.tie else not_preferred for other in others], dtype=np.uint32),
                        np.array([other.carries or other.rejected is not None for other in others], dtype=bool),
                        parts[-1].never_train[preferences],
                        pa.nulls(len(preferences), pa.binary(16)).dictionary_encode(),
                        np.zeros((len(preferences), parts[-1].segments.shape[1]), dtype=np.int32),
                    )
                )  # fmt: skip
                sources.append(here[preferences])
                start += len(preferences)
        columns = {name: [getattr(part, name) for part in parts] for name in _BatchColumns._fields}
        parts.clear()
        completion, completions = _unified(columns.pop("completion"))
        actor, actors = _unified(columns.pop("actor"))
        checkpoint, checkpoints = _unified(columns.pop("checkpoint"))
        return EventColumns(
            position=_joined(columns.pop("position"), np.int64),
            completion=completion.view(np.uint32),
            actor=actor.view(np.uint32),
            moment=_joined(columns.pop("moment"), np.int64),
            by_arrival=_joined(columns.pop("by_arrival"), np.bool_),
            signal=_joined(columns.pop("signal"), np.uint32),
            carries=_joined(columns.pop("carries"), np.bool_),
            never_train=_joined(columns.pop("never_train"), np.bool_),
            checkpoint=checkpoint,
            segments=np.concatenate(columns.pop("segments") or [np.empty((0, keys), dtype=np.int32)]),
            source=_joined(sources, np.int32),
            completions=completions,
            actors=actors,
            checkpoints=checkpoints,
            signals=signals,
            edit_rows=_joined(edit_rows, np.int64),
            compared=ComparisonEvents(*map(np.concatenate, zip(*compared, strict=True))),
            supersedes=supersedes,
        )

    def about(self, completions: NDArray[np.bool_]) -> "EventColumns":
        """Returns only the rows about these completions. `supersedes` is dropped, so evaluate it before."""
        chosen = completions[self.completion]
        row = np.where(chosen, np.cumsum(chosen, dtype=np.int32) - 1, np.int32(-1))
        number = np.cumsum(completions, dtype=np.uint32) - np.uint32(1)
        return replace(
            self,
            position=self.position[chosen],
            completion=number[self.completion[chosen]],
            actor=self.actor[chosen],
            moment=self.moment[chosen],
            by_arrival=self.by_arrival[chosen],
            signal=self.signal[chosen],
            carries=self.carries[chosen],
            never_train=self.never_train[chosen],
            checkpoint=self.checkpoint[chosen],
            segments=self.segments[chosen],
            source=row[self.source[chosen]],
            completions=self.completions.filter(as_arrow(completions)),
            edit_rows=row[self.edit_rows[chosen[self.edit_rows]]].astype(np.int64),
            compared=ComparisonEvents(row[self.compared.row], self.compared.other).where(chosen[self.compared.row]),
            supersedes={},
        )


def not_preferred(batch: pa.RecordBatch) -> tuple[NDArray[np.int64], pa.Array]:
    """Returns the rows of a batch that are preferences, and the ids of the completions that were not preferred."""
    rows = np.flatnonzero(as_numpy(pc.match_substring(batch["signal"], '"preference"')))
    signals = [_SIGNAL.decode(text) for text in pl.Series(batch["signal"]).gather(rows)]
    preferences = [number for number, signal in enumerate(signals) if signal.kind == "preference"]
    rows = rows[preferences]
    ids = pl.Series(batch["completion_id"]).gather(rows)
    return rows, _strings(signals[number].other(own) for number, own in zip(preferences, ids, strict=True))


def _number(signals: Signals, signal: _Signal, raw: str) -> int:
    if signal.kind in ("edit", "comment", "preference"):
        unread = {"severity": UNKNOWN_EDIT} if signal.kind == "edit" else {}
        return signals.number({"kind": EVEN if signal.tie else signal.kind, **unread})
    return signals.number(msgspec.json.decode(raw), raw)


def _unified(parts: Sequence[pa.DictionaryArray]) -> tuple[NDArray[np.int32], pa.Array]:
    """Returns the numbers of the values, -1 for null, and the distinct values."""
    if not parts:
        return np.empty(0, dtype=np.int32), _strings([])
    chunks = pa.chunked_array(parts).unify_dictionaries().chunks
    indices = [np.array(pl.Series(chunk.indices).fill_null(-1).to_numpy()) for chunk in chunks]
    return np.concatenate(indices).astype(np.int32, copy=False), chunks[0].dictionary


def _joined(parts: Sequence[NDArray[Any]], dtype: type[np.generic]) -> NDArray[Any]:
    return np.concatenate(parts) if parts else np.empty(0, dtype=dtype)


def segments_of(batch: pa.RecordBatch) -> NDArray[np.int32]:
    """Returns the hashes of a batch's segments: a row for each of its rows, a column for each key."""
    names = [name for name in batch.schema.names if name.startswith("segment_")]
    return np.stack([as_numpy(batch[name]) for name in names], 1) if names else np.empty((len(batch), 0), np.int32)


def as_numpy(array: pa.Array) -> NDArray[Any]:
    """Returns a copy, as a view would keep the array's whole batch. Uses polars, as Arrow's own method loads pandas."""
    return np.array(pl.Series(array).to_numpy())


def as_arrow(values: NDArray[Any]) -> pa.Array:
    return pl.Series(values).to_arrow()


def _strings(values: Iterable[str]) -> pa.Array:
    return pl.Series(list(values), dtype=pl.String).to_arrow().cast(pa.string())
