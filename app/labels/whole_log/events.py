"""A log in columns: its events as numbers, and the values of these numbers. Pure."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

#: The severity of an edit whose original's text is not known.
UNKNOWN_EDIT = "unknown"
#: The type of columns with few names that occur often: each takes a number in memory.
NAME = pl.Categorical()


class LogEvents(NamedTuple):
    """Columns of events; `moment` is in µs since 1970, 0 where no time is known; `completion`, `actor` and `signal` are
    numbers. `by_arrival`: whether the moment is that of the receipt; the position in the log then orders equal ones."""

    position: NDArray[np.int64]
    completion: NDArray[np.uint32]
    actor: NDArray[np.uint32]
    moment: NDArray[np.int64]
    by_arrival: NDArray[np.bool_]
    signal: NDArray[np.uint32]

    def where(self, chosen: NDArray[Any] | slice) -> "LogEvents":
        """Returns the events that a mask, row numbers or a slice choose."""
        return LogEvents._make(column[chosen] for column in self)

    def with_more(self, others: "LogEvents") -> "LogEvents":
        """Returns these events followed by the others."""
        columns: list[tuple[NDArray[Any], NDArray[Any]]] = list(zip(self, others, strict=True))
        return LogEvents._make(map(np.concatenate, columns))

    @property
    def pair(self) -> NDArray[np.int64]:
        """Returns completion and actor in one number."""
        return self.completion.astype(np.int64) << 32 | self.actor

    @property
    def sequence(self) -> NDArray[np.int64]:
        """Returns a number that orders events of one moment; 0 for events without such an order."""
        return np.where(self.by_arrival, self.position, 0)

    def same_moment_as_before(self, order: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Returns for each event, in this order, whether it has the same moment as the one before it."""
        moment, sequence = self.moment[order], self.sequence[order]
        same = np.zeros(len(order), dtype=bool)
        same[1:] = (moment[1:] == moment[:-1]) & (sequence[1:] == sequence[:-1])
        return same


class ComparisonEvents(NamedTuple):
    """Events that compare two completions. `row`: row of the event · `other`: hash of the other completion's id."""

    row: NDArray[np.int32]
    other: NDArray[np.uint64]

    @staticmethod
    def none() -> "ComparisonEvents":
        return ComparisonEvents(np.empty(0, dtype=np.int32), np.empty(0, dtype=np.uint64))

    def where(self, chosen: NDArray[np.bool_]) -> "ComparisonEvents":
        return ComparisonEvents(self.row[chosen], self.other[chosen])


@dataclass(frozen=True)
class Log:
    """The events of a log, in numbers.

    events       `completion` and `actor` are rows of the frames below, `signal` an index into `signals`; a preference
                 has two rows, one for each side
    stands       for each event, whether it was neither taken back nor replaced
    compared     the events that compare two completions, with the other one
    signals      the distinct signals, as on the wire; {"kind": "edit", "severity": …} for edits of that severity
    completions  completion_id str · checkpoint_id name or null · position Int64 · known bool: whether its text is
                 there · carrier UInt8: what holds the text (`reading.CARRIERS`) · never_train bool: not for training
                 · segment_0, segment_1 … Int32: see `EventColumns.segments`
    actors       their ids
    rewritten    position Int64 · key bytes (see `text_key`): the texts of edits that are rows of their own
    """

    events: LogEvents
    stands: NDArray[np.bool_]
    compared: ComparisonEvents
    signals: Sequence[dict[str, Any]]
    completions: pl.DataFrame
    actors: pl.Series
    rewritten: pl.DataFrame


def text_key(text: str) -> bytes:
    """Returns the 16-byte hash of a text."""
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def microseconds(moment: datetime) -> int:
    """Returns the microseconds since 1970, exactly; a float would round."""
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def id_hash(completion_ids: pa.Array | pl.Series) -> NDArray[np.uint64]:
    """Returns a 64-bit hash of each id. It is valid within this process only."""
    return pl.Series(completion_ids, dtype=pl.String).hash().to_numpy()


def changes(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Returns for each value whether it differs from the one before it; the first one does."""
    differs = np.ones(len(values), dtype=bool)
    differs[1:] = values[1:] != values[:-1]
    return differs
