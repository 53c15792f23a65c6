"""The rows that were selected for a snapshot, in columns, and their counts. Pure."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from thumbwheel import wire

from app.snapshots.balance.enough import ClassTally
from app.snapshots.prompts.split import Split
from app.snapshots.selection.pairs import Pairs

Format = Literal["text", "chat"]
SPLITS: tuple[Split, ...] = get_args(Split)
FORMATS: tuple[Format, ...] = get_args(Format)
TRAIN = SPLITS.index("train")


@dataclass(frozen=True)
class RowsForPairs:
    """The columns of rows that only pairs need: compared texts without a label."""

    candidate: NDArray[np.int32]
    weight: NDArray[np.float64]
    split: NDArray[np.int8]
    chat: NDArray[np.bool_]

    def where(self, chosen: NDArray[np.bool_]) -> "RowsForPairs":
        return RowsForPairs(self.candidate[chosen], self.weight[chosen], self.split[chosen], self.chat[chosen])

    def shard(self, split: Split, kind: Format) -> NDArray[np.int64]:
        """The rows that one file takes."""
        return np.flatnonzero((self.split == SPLITS.index(split)) & (self.chat == (kind == "chat")))


@dataclass(frozen=True)
class Selection:
    """The columns of the rows, ordered by the time of the newest signal, then by completion.

    candidate  number of the row's candidate
    cluster    (candidate, row) of each candidate with the text of the row, including the row's own
    weight     weight after the caps
    split      index in `SPLITS`
    group      number of the prompt's group
    unit       number of the unit that is on one side as a whole: the group's conversation, or the group without one
    members    (row, actor) of each actor who contributed to the row
    counts     rows before equal ones are collapsed
    drops      reason → completions or rows that were left out
    capped     training rows with a reduced weight, by the cap that was exceeded: actor or prompt
    for_pairs  rows without a label; they are numbered after the labelled rows
    pairs      compared rows, both in one split and of one format
    """

    candidate: NDArray[np.int32]
    cluster: tuple[NDArray[np.int32], NDArray[np.int32]]
    label: NDArray[np.bool_]
    weight: NDArray[np.float64]
    split: NDArray[np.int8]
    chat: NDArray[np.bool_]
    group: NDArray[np.int32]
    unit: NDArray[np.int32]
    members: tuple[NDArray[np.int32], NDArray[np.int32]]
    counts: wire.ClassCounts
    drops: Counter[str]
    capped: dict[str, int]
    tallies: Mapping[Split, ClassTally]
    for_pairs: "RowsForPairs"
    pairs: Pairs

    def shard(self, split: Split, kind: Format) -> NDArray[np.int64]:
        """The rows that one file takes."""
        return np.flatnonzero((self.split == SPLITS.index(split)) & (self.chat == (kind == "chat")))

    def without_members(self) -> "Selection":
        """Returns a copy without members, groups and units, which take a third of the memory."""
        none = np.empty(0, dtype=np.int32)
        return replace(self, members=(none, none), group=none, unit=none)

    def pairs_of(self, split: Split) -> Pairs:
        """Returns the pairs of one split."""
        splits = np.concatenate([self.split, self.for_pairs.split])
        return self.pairs.where(splits[self.pairs.chosen] == SPLITS.index(split))

    @property
    def train(self) -> ClassTally:
        return self.tallies["train"]


def tally_of(selection: Selection, split: Split) -> ClassTally:
    rows = selection.split == SPLITS.index(split)
    up, down = rows & selection.label, rows & ~selection.label
    split_of_row = np.concatenate([selection.split, selection.for_pairs.split])
    pairs = np.count_nonzero(split_of_row[selection.pairs.chosen] == SPLITS.index(split))
    return ClassTally(
        desirable=int(np.count_nonzero(up)),
        undesirable=int(np.count_nonzero(down)),
        weight_desirable=float(selection.weight[up].sum()),
        weight_undesirable=float(selection.weight[down].sum()),
        pairs=int(pairs),
    )
