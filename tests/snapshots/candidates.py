"""Builds snapshot candidates from short descriptions, without labels or texts in a database."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from thumbwheel.wire import LabelPolicy
from thumbwheel.wire.guard_rules import Duplicates

from app.labels.whole_log.comparisons import COMPARISONS
from app.labels.whole_log.events import NAME
from app.labels.whole_log.labelled import Labelled
from app.snapshots.selection.candidates import Candidates
from app.snapshots.selection.labelled_rows import ranks_of, rows_of
from app.snapshots.selection.with_texts import gather, keep
from app.spill.texts import texts

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Reply:
    """A labelled completion. `minutes`: the time of its label in minutes after noon."""

    number: int
    prompt: Any
    text: str
    label: bool = True
    actors: tuple[str, ...] = ()
    weight: float = 1.0
    minutes: float = 0
    never_train: bool = False

    @property
    def by(self) -> tuple[str, ...]:
        return self.actors or (f"user-{self.number}",)


@dataclass(frozen=True)
class _Source:
    said: Sequence[Reply] = field(default_factory=list)

    def carried(self) -> Iterator[pa.RecordBatch]:
        yield pa.RecordBatch.from_pydict(
            {
                "position": pa.array([one.number for one in self.said], pa.int64()),
                "carrier": pa.array([0] * len(self.said), pa.int16()),
                "prompt": pa.array([json.dumps(one.prompt) for one in self.said], pa.string()),
                "completion": pa.array([one.text for one in self.said], pa.string()),
            }
        )

    def rejected(self, positions: Sequence[int]) -> dict[int, tuple[str, str]]:
        raise AssertionError(positions)

    def edited(self, positions: Sequence[int]) -> dict[int, str]:
        raise AssertionError(positions)


def gathered(said: Sequence[Reply], duplicates: Duplicates | None = None) -> tuple[Candidates, Counter[str]]:
    """Returns the candidates in the order of `said`, and the counts of dropped rows by reason."""
    names = sorted({actor for one in said for actor in one.by}, reverse=True)
    votes = [(row, names.index(actor), one) for row, one in enumerate(said) for actor in one.by]
    labelled = Labelled(
        completions=pl.DataFrame(
            {
                "completion_id": [f"c{one.number}" for one in said],
                "checkpoint_id": [None] * len(said),
                "position": [one.number for one in said],
                "known": [True] * len(said),
                "carrier": pl.Series([0] * len(said), dtype=pl.UInt8),
                "never_train": [one.never_train for one in said],
                "label": [one.label for one in said],
                "weight": pl.Series([round(one.weight * 1000) for one in said], dtype=pl.Int32),
                "reason": pl.Series(["thumbs_up" if one.label else "thumbs_down" for one in said], dtype=NAME),
            },
            schema_overrides={
                "completion_id": pl.String,
                "checkpoint_id": NAME,
                "position": pl.Int64,
                "known": pl.Boolean,
                "never_train": pl.Boolean,
                "label": pl.Boolean,
            },
        ),
        votes=pl.DataFrame(
            {
                "completion": pl.Series([row for row, _, _ in votes], dtype=pl.UInt32),
                "actor": pl.Series([actor for _, actor, _ in votes], dtype=pl.UInt32),
                "moment": pl.Series(
                    [NOON + timedelta(minutes=one.minutes) for _, _, one in votes], dtype=pl.Datetime("us", "UTC")
                ),
                "position": pl.Series([one.number for _, _, one in votes], dtype=pl.Int64),
                "desirable": pl.Series([one.label for _, _, one in votes], dtype=pl.Boolean),
                "reason": pl.Series(["thumbs_up" if one.label else "thumbs_down" for _, _, one in votes], dtype=NAME),
            }
        ),
        rewrites=pl.DataFrame(
            schema={
                "completion": pl.UInt32,
                "key": pl.Binary,
                "position": pl.Int64,
                "moment": pl.Int64,
                "weight": pl.Int32,
                "actors": pl.List(pl.UInt32),
            }
        ),
        comparisons=COMPARISONS.to_frame(),
        judgements=pl.DataFrame(),
        compared=np.empty(0, dtype=np.uint32),
        said=pl.DataFrame(),
        actors=pl.Series("actor", names, dtype=pl.String),
    )
    ranks = ranks_of(labelled.actors)
    rows, drops = rows_of(labelled, ranks)
    rules = duplicates or LabelPolicy().guards.duplicates
    with texts() as kept:
        candidates, unusable = gather(keep([rows], None), _Source(said), kept, rules)
        drops.update(unusable)
        return candidates, drops
