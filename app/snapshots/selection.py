"""Which candidates are rows of a snapshot: equal ones collapsed, each on its side, influence capped. Pure.

Nothing depends on the order in which the candidates come; the rows are in the order of time.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from thumbwheel import wire

from app.labels.guards import influence
from app.labels.policy import THOUSANDTHS
from app.labels.sets import microseconds
from app.snapshots.balance import Tally
from app.snapshots.candidates import Candidates
from app.snapshots.pairs import pairs_of_rows
from app.snapshots.plan import Cell
from app.snapshots.said import numbered
from app.snapshots.split import Split, split_of

Format = Literal["text", "chat"]
SPLITS: tuple[Split, ...] = get_args(Split)
FORMATS: tuple[Format, ...] = get_args(Format)
TRAIN = SPLITS.index("train")


@dataclass(frozen=True)
class Selection:
    """Columns of the rows, in their order: by the time of what was said, then by completion.

    candidate  number of the row's candidate
    cluster    (candidate, row) of each candidate that says the same as the row, the row's own among them
    weight     what the caps leave
    split      number in `SPLITS`
    group      number of the prompt's group
    unit       number of what is on one side as a whole: the group's conversation, or the group where it has none
    members    (row, actor) of each actor who has a part in the row
    counts     rows before equal ones are collapsed
    drops      reason → completions or rows that are not in it
    capped     training rows that weigh less, by whose influence was over its cap
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
    tallies: Mapping[Split, Tally]

    def shard(self, split: Split, kind: Format) -> NDArray[np.int64]:
        """The rows that one file takes."""
        return np.flatnonzero((self.split == SPLITS.index(split)) & (self.chat == (kind == "chat")))

    def without_members(self) -> "Selection":
        """For who looks at them no more: they are a third of it."""
        none = np.empty(0, dtype=np.int32)
        return replace(self, members=(none, none), group=none, unit=none)

    @property
    def train(self) -> Tally:
        return self.tallies["train"]


def select(
    candidates: Candidates,
    drops: Counter[str],
    leaders: NDArray[np.uint64],
    deciding: NDArray[np.uint64],
    astray: NDArray[np.int64],
    *,
    project: str,
    guards: wire.policies.GuardRules,
    rules: wire.SnapshotRules,
    as_of: datetime,
) -> Selection:
    """Choose the rows.

    drops     completions that gave no candidate
    leaders   (P, 2) key of the prompt that leads each prompt's group
    deciding  (P, 2) key of the prompt that decides on the side of that group: of its conversation, or its leader
    astray    candidates whose conversation is on the other side than their prompt: they are left out
    as_of     the time of the log's end

    Rows with the same prompt and completion are one row with the label of the heavier side, or none where the sides
    are equal: the same text with both labels teaches nothing.
    """
    label = candidates.label
    counts = wire.ClassCounts(
        desirable=int(np.count_nonzero(label)),
        undesirable=int(np.count_nonzero(~label)),
        nothing=drops.total(),
    )
    drops = Counter(drops)
    order = _in_time(candidates)
    here = np.ones(len(candidates), dtype=bool)
    here[astray] = False
    drops["conversation_on_other_side"] = len(astray)
    stays, cluster = _collapsed(candidates, order, here, drops)
    group = numbered(leaders)[candidates.prompt]
    unit_of_prompt = numbered(deciding)
    unit = unit_of_prompt[candidates.prompt]
    split = _sides(project, deciding, unit_of_prompt, rules.holdout_share)[unit]
    if rules.holdout_days is not None:
        since = microseconds(as_of - timedelta(days=rules.holdout_days))
        _hold_out_later(stays, split, unit, candidates.moment >= since, drops)

    rows = np.flatnonzero(stays).astype(np.int32)
    rows = rows[np.argsort(order[rows])]
    del order, stays
    member = _members(candidates, cluster, rows)
    if rules.disjoint_actors:
        rows, member = _disjoint(rows, member, split[rows], drops)
    weight, capped = _capped(candidates, rows, member, split[rows], group[rows], guards.influence)
    left = weight > 0
    drops["capped"] = int(np.count_nonzero(~left))
    rows, weight, member = rows[left], weight[left], _renumbered(member, left)
    same = _places(rows, len(candidates))[cluster]
    del cluster
    selection = Selection(
        candidate=rows,
        cluster=(np.flatnonzero(same >= 0).astype(np.int32), same[same >= 0]),
        label=label[rows],
        weight=weight,
        split=split[rows],
        chat=candidates.prompts.chat[candidates.prompt[rows]],
        group=group[rows],
        unit=unit[rows],
        members=member,
        counts=counts,
        drops=drops,
        capped=capped,
        tallies={},
    )
    del label, split, group, unit, same
    tallies = {name: _tally(selection, candidates, name) for name in SPLITS}
    return replace(selection, tallies=tallies)


def cells_of(selection: Selection, candidates: Candidates) -> list[Cell]:
    """The training rows by checkpoint, reason and label."""
    train = np.flatnonzero(selection.split == TRAIN).astype(np.int32)
    candidate = selection.candidate[train]
    kind = candidates.checkpoint[candidates.completion[candidate]] + np.int32(1)
    kind *= len(candidates.reasons)
    kind += candidates.reason[candidate]
    kind *= 2
    kind += selection.label[train]
    del candidate
    kinds, number = np.flatnonzero(_present(kind)), _dense(kind)
    weight = selection.weight[train]
    rows, weights = np.bincount(number, minlength=len(kinds)), np.bincount(number, weight, len(kinds))
    squares = np.bincount(number, weight**2, len(kinds))
    found = []
    for place, one in enumerate(kinds.tolist()):
        which, desirable = divmod(one, 2)
        of, why = divmod(which, len(candidates.reasons))
        name = None if of == 0 else candidates.checkpoints[of - 1]
        told = int(rows[place]), float(weights[place]), float(squares[place])
        found.append(Cell(name, candidates.reasons[why], bool(desirable), *told))
    return found


def _in_time(candidates: Candidates) -> NDArray[np.int32]:
    """Of each candidate its place by the time of what was said; then by completion, before what was written in its
    place."""
    place = np.empty(len(candidates), dtype=np.int32)
    by = np.lexsort((candidates.edit, candidates.rank[candidates.completion], candidates.moment))
    place[by] = np.arange(len(place), dtype=np.int32)
    return place


def _collapsed(
    candidates: Candidates, order: NDArray[np.int32], here: NDArray[np.bool_], drops: Counter[str]
) -> tuple[NDArray[np.bool_], NDArray[np.int32]]:
    """Which candidates stay, of those that are `here`: of each cluster the first of the heavier side with the weight of
    its heaviest. And of each candidate the one that stays for it, itself where none does."""
    said = numbered(candidates.said)
    label, weight = candidates.label, candidates.weight
    many = int(said.max(initial=-1)) + 1
    # Sums of thousandths are whole numbers far below 2^53: exact as floats, in any order.
    up = np.bincount(said[label & here], weight[label & here], many)
    down = np.bincount(said[~label & here], weight[~label & here], many)
    tie = (up == down)[said] & here
    won = (label == (up > down)[said]) & ~tie & here
    drops["contradiction"] += int(np.count_nonzero(tie))
    drops["outvoted"] += int(np.count_nonzero(~won & ~tie & here))
    winners = np.flatnonzero(won).astype(np.int32)
    del up, down, tie, won
    winners = winners[np.lexsort((order[winners], -weight[winners], said[winners]))]
    first = winners[np.append(True, said[winners][1:] != said[winners][:-1])[: len(winners)]]
    drops["duplicate"] += len(winners) - len(first)
    stays = np.zeros(len(candidates), dtype=bool)
    stays[first] = True
    stands_for = np.full(many, -1, dtype=np.int32)
    stands_for[said[first]] = first
    cluster = stands_for[said]
    alone = (cluster < 0) | ~here
    cluster[alone] = np.flatnonzero(alone)
    return stays, cluster


def _sides(
    project: str, deciding: NDArray[np.uint64], unit: NDArray[np.int32], holdout_share: float
) -> NDArray[np.int8]:
    """Returns the number of each unit's side."""
    _, one = np.unique(unit, return_index=True)
    sides = (split_of(project, deciding[place].tobytes(), holdout_share) for place in one.tolist())
    return np.array([SPLITS.index(side) for side in sides], dtype=np.int8)


def _hold_out_later(
    stays: NDArray[np.bool_],
    split: NDArray[np.int8],
    unit: NDArray[np.int32],
    late: NDArray[np.bool_],
    drops: Counter[str],
) -> None:
    """Rows of late leave training: held out where prompt and conversation are new, else dropped. In place."""
    train = stays & (split == TRAIN)
    known = np.zeros(int(unit.max(initial=-1)) + 1, dtype=bool)
    known[unit[train & ~late]] = True
    dropped = train & late & known[unit]
    drops["between_times"] += int(np.count_nonzero(dropped))
    stays[dropped] = False
    split[train & late & ~known[unit]] = SPLITS.index("later")


_Members = tuple[NDArray[np.int32], NDArray[np.int32]]


def _places(rows: NDArray[np.int32], many: int) -> NDArray[np.int32]:
    """Of each of `many` candidates its place among `rows`, -1 where it is none of them."""
    place = np.full(many, -1, dtype=np.int32)
    place[rows] = np.arange(len(rows), dtype=np.int32)
    return place


def _members(candidates: Candidates, cluster: NDArray[np.int32], rows: NDArray[np.int32]) -> _Members:
    """(row, actor), each once: those who made a candidate of the row's cluster with the row's label."""
    candidate, actor = candidates.members
    label, stands_for = candidates.label, cluster[candidate]
    row = _places(rows, len(candidates))[stands_for]
    agreed = (row >= 0) & (label[candidate] == label[stands_for])
    del candidate, stands_for
    both = row[agreed].astype(np.int64) << 32 | actor[agreed]
    del row, actor, agreed
    both.sort()
    both = both[np.append(True, both[1:] != both[:-1])[: len(both)]]
    return (both >> 32).astype(np.int32), (both & 0xFFFFFFFF).astype(np.int32)


def _renumbered(member: _Members, left: NDArray[np.bool_]) -> _Members:
    row, actor = member
    number = np.cumsum(left, dtype=np.int32) - 1
    return number[row[left[row]]], actor[left[row]]


def _disjoint(
    rows: NDArray[np.int32], member: _Members, split: NDArray[np.int8], drops: Counter[str]
) -> tuple[NDArray[np.int32], _Members]:
    """Without the training rows of actors who have others, too."""
    row, actor = member
    held_out = split != TRAIN
    theirs = np.unique(row[~held_out[row] & np.isin(actor, actor[held_out[row]])])
    drops["actor_on_both_sides"] += len(theirs)
    left = np.ones(len(rows), dtype=bool)
    left[theirs] = False
    return rows[left], _renumbered(member, left)


def _capped(
    candidates: Candidates,
    rows: NDArray[np.int32],
    member: _Members,
    split: NDArray[np.int8],
    group: NDArray[np.int32],
    rules: wire.policies.Influence,
) -> tuple[NDArray[np.float64], dict[str, int]]:
    """The weights, of training rows what the caps leave; and how many weigh less, by the cap."""
    weight = candidates.weight[rows] / THOUSANDTHS
    train = split == TRAIN
    of_train = _dense(group[train])
    row, actor = _renumbered(member, train)
    found = influence.capped(weight[train], (row, _dense(actor)), of_train, rules)
    weight[train] = found.weight
    return weight, {"capped_actor": int(found.by_actor.sum()), "capped_prompt": int(found.by_prompt.sum())}


def _dense(numbers: NDArray[np.int32]) -> NDArray[np.int32]:
    """The same order, without gaps from 0 on."""
    return (np.cumsum(_present(numbers), dtype=np.int32) - 1)[numbers]


def _present(numbers: NDArray[np.int32]) -> NDArray[np.bool_]:
    there = np.zeros(int(numbers.max(initial=-1)) + 1, dtype=bool)
    there[numbers] = True
    return there


def _tally(selection: Selection, candidates: Candidates, split: Split) -> Tally:
    rows = selection.split == SPLITS.index(split)
    up, down = rows & selection.label, rows & ~selection.label
    shards = (selection.shard(split, kind) for kind in FORMATS)
    prompt = candidates.prompt[selection.candidate]
    return Tally(
        desirable=int(np.count_nonzero(up)),
        undesirable=int(np.count_nonzero(down)),
        weight_desirable=float(selection.weight[up].sum()),
        weight_undesirable=float(selection.weight[down].sum()),
        pairs=sum(len(pairs_of_rows(prompt[shard], selection.label[shard])) for shard in shards),
    )
