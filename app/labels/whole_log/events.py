"""A log in columns: its events as numbers, and what these stand for. Pure."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

#: What an edit says whose original's text is not known.
UNKNOWN_EDIT = "unknown"
#: Of few names that are said often: a number each in memory.
NAME = pl.Categorical()


class Events(NamedTuple):
    """Columns of events; `moment` is in µs since 1970, 0 where no time is known; `completion`, `actor` and `signal` are
    numbers. `by_arrival`: whether the moment is that of the receipt, so that the place in the log orders equal ones."""

    position: NDArray[np.int64]
    completion: NDArray[np.uint32]
    actor: NDArray[np.uint32]
    moment: NDArray[np.int64]
    by_arrival: NDArray[np.bool_]
    signal: NDArray[np.uint32]

    def where(self, chosen: NDArray[Any] | slice) -> "Events":
        """By a mask, by row numbers, or a slice."""
        return Events._make(column[chosen] for column in self)

    def with_more(self, others: "Events") -> "Events":
        """Both, these first."""
        columns: list[tuple[NDArray[Any], NDArray[Any]]] = list(zip(self, others, strict=True))
        return Events._make(map(np.concatenate, columns))

    @property
    def pair(self) -> NDArray[np.int64]:
        """Completion and actor in one number."""
        return self.completion.astype(np.int64) << 32 | self.actor

    @property
    def sequence(self) -> NDArray[np.int64]:
        """Returns a number that orders events of one moment; 0 for those that have no order then."""
        return np.where(self.by_arrival, self.position, 0)

    def same_moment_as_before(self, order: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether each event, in this order, is of the moment of the one before it."""
        moment, sequence = self.moment[order], self.sequence[order]
        same = np.zeros(len(order), dtype=bool)
        same[1:] = (moment[1:] == moment[:-1]) & (sequence[1:] == sequence[:-1])
        return same


class Compared(NamedTuple):
    """Events that compare two completions. `row`: of the event · `other`: what stands for the id of the other one."""

    row: NDArray[np.int32]
    other: NDArray[np.uint64]

    @staticmethod
    def none() -> "Compared":
        return Compared(np.empty(0, dtype=np.int32), np.empty(0, dtype=np.uint64))

    def where(self, chosen: NDArray[np.bool_]) -> "Compared":
        return Compared(self.row[chosen], self.other[chosen])


@dataclass(frozen=True)
class Log:
    """The events of a log, in numbers.

    events       `completion` and `actor` are rows of the frames below, `signal` a place in `signals`; a preference is
                 there twice, once for each side
    stands       which of them were not taken back, nor replaced
    compared     those that compare two completions, with the other one
    signals      the different ones, as on the wire; {"kind": "edit", "severity": …} for edits of that severity
    completions  completion_id str · checkpoint_id name or null · position Int64 · known bool: is its text there ·
                 carrier UInt8: what has it (`reading.CARRIERS`) · never_train bool: not to be trained on
    actors       their ids
    rewritten    position Int64 · key bytes (see `text_key`): the texts of edits that are rows of their own
    """

    events: Events
    stands: NDArray[np.bool_]
    compared: Compared
    signals: Sequence[dict[str, Any]]
    completions: pl.DataFrame
    actors: pl.Series
    rewritten: pl.DataFrame


def text_key(text: str) -> bytes:
    """16 bytes that stand for a text."""
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def microseconds(moment: datetime) -> int:
    """Since 1970; exact, where a float would round."""
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def id_hash(completion_ids: pa.Array | pl.Series) -> NDArray[np.uint64]:
    """Returns 64 bits that stand for each id, as long as the process lives."""
    return pl.Series(completion_ids, dtype=pl.String).hash().to_numpy()


def changes(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Returns for each value whether it differs from the one before it; the first one does."""
    differs = np.ones(len(values), dtype=bool)
    differs[1:] = values[1:] != values[:-1]
    return differs
