"""Finds each actor's judgement on each pair of compared completions, for a whole log at once. Pure.

A comparison is in a log twice, once for each of the two. An actor's latest judgement of the same two counts; judgements
of one moment that contradict each other count as none. `app.labels.policy` does the same for one completion.
"""

from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from app.labels.verdicts import preference_in
from app.labels.whole_log.events import Log, LogEvents, changes, id_hash

_COLUMNS: dict[str, pl.DataType | type[pl.DataType]] = {
    "completion": pl.UInt32,
    "other": pl.UInt64,
    "first": pl.Boolean,
    "preferred": pl.UInt32,
    "not_preferred": pl.UInt32,
    "even": pl.UInt32,
    "moment": pl.Int64,
    "actors": pl.List(pl.UInt32),
}
#: Two compared completions with counts of actors; two rows, one from the view of each. `other`: hash of the other's id
#: · `first`: see `Judgements` · `preferred`: actors who prefer `completion` · `moment`: that of the newest comparison.
COMPARISONS = pl.Schema(_COLUMNS)


class Judgements(NamedTuple):
    """The judgement that counts of each actor on each two completions, from the view of each of the two; ordered by
    completion and actor.

    events      the latest events with that judgement
    other       hash of the id of the other completion
    preference  1 for this one, -1 for the other one, 0 for neither
    first       whether this is the side to use where the two are counted once
    two         index in `Log.compared` of the first event about this completion and the other one
    """

    events: LogEvents
    other: NDArray[np.uint64]
    preference: NDArray[np.int8]
    first: NDArray[np.bool_]
    two: NDArray[np.int64]

    def where(self, chosen: NDArray[Any]) -> "Judgements":
        other, preference, first, two = (
            self.other[chosen],
            self.preference[chosen],
            self.first[chosen],
            self.two[chosen],
        )
        return Judgements(self.events.where(chosen), other, preference, first, two)

    def once(self) -> "Judgements":
        """Returns each judgement once, from the view of the first of the two."""
        return self.where(self.first)

    def of_completions(self) -> LogEvents:
        """Returns one event for each actor and completion that the actor mostly prefers, or mostly does not prefer."""
        pair = self.events.pair
        begins = np.flatnonzero(changes(pair))
        if not len(begins):
            return self.events
        number = np.cumsum(changes(pair)) - 1
        balance = np.add.reduceat(self.preference.astype(np.int64), begins)[number]
        agreeing = self.events.where(self.preference * balance > 0)
        order = np.lexsort((agreeing.sequence, agreeing.moment, agreeing.pair))
        agreeing = agreeing.where(order)
        return agreeing.where(np.append(changes(agreeing.pair)[1:], True)[: len(order)])

    def counted(self) -> pl.DataFrame:
        """Returns the compared completions with counts: see `COMPARISONS`."""
        frame = pl.DataFrame(
            {
                "completion": self.events.completion,
                "other": self.other,
                "first": self.first,
                "preference": self.preference,
                "moment": self.events.moment,
                "actor": self.events.actor,
            }
        )
        sides = {"preferred": 1, "not_preferred": -1, "even": 0}
        return (
            frame.group_by("completion", "other", "first")
            .agg(
                *((pl.col("preference") == side).sum().alias(name) for name, side in sides.items()),
                pl.col("moment").max(),
                pl.col("actor").sort().alias("actors"),
            )
            .select(COMPARISONS.names())
            .cast(COMPARISONS)
            .sort("completion", "other")
        )


def judgements_of(log: Log, counts: NDArray[np.bool_]) -> Judgements:
    """Returns the judgements in the comparisons among the events that count."""
    chosen = counts[log.compared.row]
    compared, two = log.compared.where(chosen), _first_indices(log)[chosen]
    events = log.events.where(compared.row)
    sides = np.array([preference_in(body) or 0 for body in log.signals], dtype=np.int8)
    order = np.lexsort((events.sequence, events.moment, compared.other, events.pair))
    other, two, events = compared.other[order], two[order], events.where(order)
    new_two = changes(events.pair) | changes(other)
    new_moment = new_two | ~events.same_moment_as_before(np.arange(len(order)))
    begins = np.flatnonzero(new_moment)
    last = np.append(new_two[1:], True)[: len(order)]
    preference = sides[events.signal]
    if len(begins):
        number = (np.cumsum(new_moment) - 1)[last]
        low, high = (of.reduceat(preference, begins)[number] for of in (np.minimum, np.maximum))
    else:
        low = high = preference[last]
    events, other = events.where(last), other[last]
    ids = log.completions["completion_id"].gather(events.completion)
    agreed = np.where(low == high, low, 0).astype(np.int8)
    return Judgements(events, other, agreed, id_hash(ids) < other, two[last])


def _first_indices(log: Log) -> NDArray[np.int64]:
    """Returns for each row of `log.compared` the index of the first row about the same two completions."""
    completion, other = log.events.completion[log.compared.row], log.compared.other
    order = np.lexsort((other, completion))
    begins = changes(completion[order]) | changes(other[order])
    first = np.empty(len(order), dtype=np.int64)
    if len(order):
        first[order] = np.minimum.reduceat(order, np.flatnonzero(begins))[np.cumsum(begins) - 1]
    return first
