"""Collects the labels of each release while a log is read part by part. Pure.

A label belongs to the release whose period contains its completion's newest vote, if the release has the completion's
checkpoint. Votes without a time belong to none. What is held does not grow with the log, except for two small numbers
for each actor and arm of a comparison.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from app.feedback.reading.carriers import CARRIERS
from app.labels.whole_log.events import Log, microseconds
from app.labels.whole_log.labelled import Labelled
from app.releases.periods import Period

#: The values of a key that are told apart while the log is read, the most frequent ones.
MOST_VALUES = 10_000
FOREVER = 2**63 - 1
_CELLS = pl.Schema(
    {
        "period": pl.Int32,
        "value": pl.Int32,
        "desirable": pl.Int64,
        "undesirable": pl.Int64,
        "completion_id": pl.String,
    }
)


@dataclass
class ReleaseLabels:
    """The labels of one release.

    voted     labelled completions that are registered
    reasons   labels by their first reason
    """

    desirable: int = 0
    undesirable: int = 0
    voted: int = 0
    reasons: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Arm:
    """One side of a comparison: the votes on a checkpoint's completions from one moment until before another."""

    number: int
    checkpoint_id: str
    begins: datetime
    ends: datetime | None


@dataclass(frozen=True)
class ArmVotes:
    """The votes in an arm. `total`: sum over actors of the mean of each one's votes, 1 for desirable, 0 for not."""

    votes: int
    actors: int
    total: float


class Collected:
    """The labels that were collected so far. Call it with each part of the log."""

    def __init__(self, periods: Sequence[Period], arms: Sequence[Arm], segments: int) -> None:
        self.labels = {period.number: ReleaseLabels() for period in periods}
        self._numbers = [period.number for period in periods]
        self._checkpoints: dict[str, list[int]] = {}
        for index, period in enumerate(periods):
            self._checkpoints.setdefault(str(period.checkpoint_id), []).append(index)
        self._begins = np.array([microseconds(period.begins) for period in periods], dtype=np.int64)
        self._ends = np.array([_end(period.ends) for period in periods], dtype=np.int64)
        self._arms = arms
        self._votes: list[NDArray[np.int32]] = []
        self._desirable: list[NDArray[np.int32]] = []
        self._cells = [pl.DataFrame(schema=_CELLS) for _ in range(segments)]

    def __call__(self, log: Log, labelled: Labelled) -> None:
        completions, votes = labelled.completions, labelled.votes
        checkpoint = completions["checkpoint_id"]
        about, moment = votes["completion"].to_numpy(), votes["moment"].to_physical().to_numpy()
        self._count_arms(checkpoint, about, moment, votes, len(log.actors))
        judged = np.zeros(len(completions), dtype=np.int64)
        np.maximum.at(judged, about, moment)
        rows = completions.with_columns(pl.Series("period", self._period(checkpoint, judged), dtype=pl.Int32)).filter(
            pl.col("label").is_not_null() & (pl.col("period") >= 0)
        )
        registered = pl.col("carrier") == CARRIERS.index("registered")
        counts = rows.group_by("period", "label", "reason").agg(pl.len(), registered.sum().alias("voted"))
        for period, label, reason, count, voted in counts.iter_rows():
            of = self.labels[self._numbers[period]]
            of.desirable += count if label else 0
            of.undesirable += 0 if label else count
            of.voted += voted
            of.reasons[str(reason)] += count
        for number in range(len(self._cells)):
            if f"segment_{number}" in rows.columns:
                self._count_segments(number, rows)

    def arms(self) -> list[ArmVotes]:
        """Returns the votes in each arm."""
        found = []
        for votes, desirable in zip(self._votes, self._desirable, strict=True):
            has = votes > 0
            total = float((desirable[has] / votes[has]).sum())
            found.append(ArmVotes(int(votes.sum(dtype=np.int64)), int(has.sum()), total))
        return found or [ArmVotes(0, 0, 0.0) for _ in self._arms]

    def segments(self, number: int, most: int) -> tuple[pl.DataFrame, Mapping[int, str]]:
        """Returns the labels of a key by release: period (number of the release), value (its hash; 0 for none, null for
        all values but the `most` frequent ones), desirable, undesirable; and for each value a completion's id.
        """
        cells = _kept(self._cells[number], most)
        examples = cells.filter(pl.col("value") != 0).unique("value").select("value", "completion_id")
        named = cells.drop("completion_id").with_columns(pl.Series("period", self._numbers).gather(cells["period"]))
        return named, dict(examples.iter_rows())

    def _period(self, checkpoint: pl.Series, moment: NDArray[np.int64]) -> NDArray[np.int32]:
        """Returns the index of the period that each moment lies in, -1 without one."""
        period = np.full(len(moment), -1, dtype=np.int32)
        for name, indices in self._checkpoints.items():
            rows = np.flatnonzero(_is(checkpoint, name))
            own = np.array(indices, dtype=np.int32)
            at = np.searchsorted(self._begins[own], moment[rows], side="right") - 1
            inside = (at >= 0) & (moment[rows] < self._ends[own][at])
            period[rows[inside]] = own[at[inside]]
        return period

    def _count_arms(
        self, checkpoint: pl.Series, about: NDArray[Any], moment: NDArray[np.int64], votes: pl.DataFrame, actors: int
    ) -> None:
        actor, desirable = votes["actor"].to_numpy(), votes["desirable"].to_numpy()
        if not self._votes:
            self._votes = [np.zeros(actors, dtype=np.int32) for _ in self._arms]
            self._desirable = [np.zeros(actors, dtype=np.int32) for _ in self._arms]
        for arm, counts, ups in zip(self._arms, self._votes, self._desirable, strict=True):
            inside = _is(checkpoint, arm.checkpoint_id)[about]
            inside &= (moment >= microseconds(arm.begins)) & (moment < _end(arm.ends))
            np.add.at(counts, actor[inside], 1)
            np.add.at(ups, actor[inside & desirable], 1)

    def _count_segments(self, number: int, rows: pl.DataFrame) -> None:
        here = rows.group_by("period", pl.col(f"segment_{number}").alias("value")).agg(
            pl.col("label").sum().alias("desirable"),
            (~pl.col("label")).sum().alias("undesirable"),
            pl.col("completion_id").first(),
        )
        together = pl.concat([self._cells[number], here.select(_CELLS.names()).cast(_CELLS)])
        self._cells[number] = _kept(together, MOST_VALUES)


def _kept(cells: pl.DataFrame, most: int) -> pl.DataFrame:
    """Returns the cells with a null in place of all values but the most frequent ones, equal ones added up."""
    labels = pl.col("desirable") + pl.col("undesirable")
    totals = cells.drop_nulls("value").group_by("value").agg(labels.sum().alias("labels"))
    frequent = totals.sort("labels", "value", descending=[True, False]).head(most)["value"]
    value = pl.when(pl.col("value").is_in(frequent.implode())).then("value")
    return (
        cells.with_columns(value)
        .group_by("period", "value")
        .agg(pl.col("desirable", "undesirable").sum(), pl.col("completion_id").first())
        .select(_CELLS.names())
        .sort("period", "value")
    )


def _is(checkpoint: pl.Series, name: str) -> NDArray[np.bool_]:
    return (checkpoint == name).fill_null(value=False).to_numpy()


def _end(moment: datetime | None) -> int:
    return FOREVER if moment is None else microseconds(moment)
