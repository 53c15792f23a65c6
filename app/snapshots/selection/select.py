"""Selects the rows of a snapshot: collapses equal candidates, splits, and caps influence. Pure.

The result does not depend on the order of the candidates. The rows are ordered by time.
"""

from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray
from thumbwheel import wire

from app.labels.guards import influence
from app.labels.verdicts import THOUSANDTHS
from app.labels.whole_log.events import microseconds
from app.snapshots.prompts.split import split_of
from app.snapshots.selection.candidates import Candidates
from app.snapshots.selection.dense_numbers import dense, present
from app.snapshots.selection.pairing import Material, material_of, pairs_among
from app.snapshots.selection.selected_rows import (
    SPLITS,
    TRAIN,
    RowsForPairs,
    Selection,
    tally_of,
)
from app.snapshots.selection.text_keys import numbered


def select(
    candidates: Candidates,
    drops: Counter[str],
    leaders: NDArray[np.uint64],
    deciding: NDArray[np.uint64],
    astray: NDArray[np.int64],
    *,
    split_key: str,
    guards: wire.guard_rules.GuardRules,
    rules: wire.SnapshotRules,
    as_of: datetime,
    derive_pairs: bool = False,
) -> Selection:
    """Selects the rows.

    drops         completions that gave no candidate
    leaders       (P, 2) key of the prompt that leads each prompt's group
    deciding      (P, 2) key of the prompt that decides the side of that group: its conversation's, or its leader
    astray        candidates to leave out, since their conversation and their prompt are on different sides
    as_of         the time of the last event of the log
    derive_pairs  whether desirable and undesirable rows of a prompt also make pairs

    Rows with the same prompt and completion become one row with the label of the heavier side. They are dropped if
    both sides weigh the same: the same text with both labels teaches nothing.
    """
    label, judged = candidates.label, candidates.judged
    counts = wire.ClassCounts(
        desirable=int(np.count_nonzero(label)),
        undesirable=int(np.count_nonzero(~label & judged)),
        nothing=drops.total(),
    )
    drops = Counter(drops)
    order = _in_time(candidates)
    two = material_of(candidates)
    here = np.ones(len(candidates), dtype=bool)
    here[astray] = False
    drops["conversation_on_other_side"] = len(astray)
    stays, only_for_pairs, cluster = _collapsed(candidates, order, two, here, drops)
    group = numbered(leaders)[candidates.prompt]
    unit_of_prompt = numbered(deciding)
    unit = unit_of_prompt[candidates.prompt]
    split = _sides(split_key, deciding, unit_of_prompt, rules.holdout_share)[unit]
    if rules.holdout_days is not None:
        since = microseconds(as_of - timedelta(days=rules.holdout_days))
        _hold_out_later(stays, only_for_pairs, split, unit, candidates.moment >= since, drops)

    rows = np.flatnonzero(stays).astype(np.int32)
    rows = rows[np.argsort(order[rows])]
    del order, stays
    member = _members(candidates, cluster, only_for_pairs, rows)
    if rules.disjoint_actors:
        rows, member = _disjoint(rows, member, split[rows], only_for_pairs, drops)
    judged = ~only_for_pairs[rows]
    weight, capped = _capped(candidates, rows, member, split[rows], group[rows], judged, guards.influence)
    left = weight > 0
    drops["capped"] = int(np.count_nonzero(~left & judged))
    rows, weight, member = rows[left], weight[left], _renumbered(member, left)
    # Rows without a label come last. The rest of the function is about labelled rows.
    alone = only_for_pairs[rows]
    chat = candidates.prompts.chat[candidates.prompt[rows]]
    for_pairs = RowsForPairs(rows[alone], weight[alone], split[rows[alone]], chat[alone])
    member = _renumbered(member, ~alone)
    rows, weight = rows[~alone], weight[~alone]
    every = np.concatenate([rows, for_pairs.candidate])
    same = _places(every, len(candidates))[cluster]
    pairs = pairs_among(candidates, two, same, every, split[every], rows if derive_pairs else rows[:0])
    if len(for_pairs.candidate):
        # Keep only the rows that a pair needs.
        needed = np.isin(np.arange(len(every)), np.concatenate([np.arange(len(rows)), pairs.chosen, pairs.rejected]))
        for_pairs, pairs = for_pairs.where(needed[len(rows) :]), pairs.renumbered(needed)
        same = _places(every[needed], len(candidates))[cluster]
    del cluster, alone, chat, every
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
        for_pairs=for_pairs,
        pairs=pairs,
    )
    del label, judged, split, group, unit, same
    tallies = {name: tally_of(selection, name) for name in SPLITS}
    return replace(selection, tallies=tallies)


def _in_time(candidates: Candidates) -> NDArray[np.int32]:
    """Returns each candidate's rank by the time of its newest signal, then by completion; a completion comes before its
    edits."""
    rank = np.empty(len(candidates), dtype=np.int32)
    order = np.lexsort((candidates.edit, candidates.rank[candidates.completion], candidates.moment))
    rank[order] = np.arange(len(rank), dtype=np.int32)
    return rank


def _collapsed(
    candidates: Candidates, order: NDArray[np.int32], two: Material, here: NDArray[np.bool_], drops: Counter[str]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.int32]]:
    """Returns which of the candidates in `here` stay, which of these serve pairs alone, and each candidate's
    representative.

    Of each cluster the heaviest candidate of the heavier side stays, the earliest of equally heavy ones. If there is
    none, the earliest candidate that was compared stays for pairs alone. A candidate without a representative is its
    own.
    """
    text = numbered(candidates.said)
    label, weight, judged = candidates.label, candidates.weight, candidates.judged
    count = int(text.max(initial=-1)) + 1
    # Sums of thousandths are whole numbers far below 2^53, so they are exact as floats in any order.
    judged = judged & here
    up = np.bincount(text[label & here], weight[label & here], count)
    down = np.bincount(text[~label & judged], weight[~label & judged], count)
    tie = (up == down)[text] & judged
    won = (label == (up > down)[text]) & ~tie & judged
    drops["contradiction"] += int(np.count_nonzero(tie))
    drops["outvoted"] += int(np.count_nonzero(~won & ~tie & judged))
    winners = np.flatnonzero(won).astype(np.int32)
    del up, down, tie, won
    winners = winners[np.lexsort((order[winners], -weight[winners], text[winners]))]
    first = winners[np.append(True, text[winners][1:] != text[winners][:-1])[: len(winners)]]
    drops["duplicate"] += len(winners) - len(first)
    stays = np.zeros(len(candidates), dtype=bool)
    stays[first] = True
    stands_for = np.full(count, -1, dtype=np.int32)
    stands_for[text[first]] = first
    only_for_pairs = np.zeros(len(candidates), dtype=bool)
    several = two.candidates()
    several = several[here[several] & (stands_for[text[several]] < 0)]
    several = several[np.lexsort((order[several], text[several]))]
    first = several[np.append(True, text[several][1:] != text[several][:-1])[: len(several)]]
    stands_for[text[first]] = first
    only_for_pairs[first] = stays[first] = True
    cluster = stands_for[text]
    alone = (cluster < 0) | ~here
    cluster[alone] = np.flatnonzero(alone)
    return stays, only_for_pairs, cluster


def _sides(
    split_key: str, deciding: NDArray[np.uint64], unit: NDArray[np.int32], holdout_share: float
) -> NDArray[np.int8]:
    """Returns the number of each unit's side."""
    _, firsts = np.unique(unit, return_index=True)
    sides = (split_of(split_key, deciding[prompt].tobytes(), holdout_share) for prompt in firsts.tolist())
    return np.array([SPLITS.index(side) for side in sides], dtype=np.int8)


def _hold_out_later(
    stays: NDArray[np.bool_],
    only_for_pairs: NDArray[np.bool_],
    split: NDArray[np.int8],
    unit: NDArray[np.int32],
    late: NDArray[np.bool_],
    drops: Counter[str],
) -> None:
    """Removes late rows from training, in place: holds them out if prompt and conversation are new, else drops them."""
    train = stays & (split == TRAIN)
    known = np.zeros(int(unit.max(initial=-1)) + 1, dtype=bool)
    known[unit[train & ~late]] = True
    dropped = train & late & known[unit]
    drops["between_times"] += int(np.count_nonzero(dropped & ~only_for_pairs))
    stays[dropped] = False
    split[train & late & ~known[unit]] = SPLITS.index("later")


_Members = tuple[NDArray[np.int32], NDArray[np.int32]]


def _places(rows: NDArray[np.int32], count: int) -> NDArray[np.int32]:
    """Returns the index in `rows` of each of `count` candidates, -1 for those that are not among them."""
    index = np.full(count, -1, dtype=np.int32)
    index[rows] = np.arange(len(rows), dtype=np.int32)
    return index


def _members(
    candidates: Candidates, cluster: NDArray[np.int32], only_for_pairs: NDArray[np.bool_], rows: NDArray[np.int32]
) -> _Members:
    """Returns (row, actor) once for each actor who contributed to a candidate of the row's cluster that has the row's
    label, or to any candidate of the cluster if the row has no label."""
    candidate, actor = candidates.members
    label, stands_for = candidates.label, cluster[candidate]
    row = _places(rows, len(candidates))[stands_for]
    agreed = (row >= 0) & ((label[candidate] == label[stands_for]) | only_for_pairs[stands_for])
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
    rows: NDArray[np.int32],
    member: _Members,
    split: NDArray[np.int8],
    only_for_pairs: NDArray[np.bool_],
    drops: Counter[str],
) -> tuple[NDArray[np.int32], _Members]:
    """Returns rows and members without the training rows of actors who also have held-out rows."""
    row, actor = member
    held_out = split != TRAIN
    theirs = np.unique(row[~held_out[row] & np.isin(actor, actor[held_out[row]])])
    drops["actor_on_both_sides"] += int(np.count_nonzero(~only_for_pairs[rows[theirs]]))
    left = np.ones(len(rows), dtype=bool)
    left[theirs] = False
    return rows[left], _renumbered(member, left)


def _capped(
    candidates: Candidates,
    rows: NDArray[np.int32],
    member: _Members,
    split: NDArray[np.int8],
    group: NDArray[np.int32],
    judged: NDArray[np.bool_],
    rules: wire.guard_rules.Influence,
) -> tuple[NDArray[np.float64], dict[str, int]]:
    """Returns the weights, with the caps applied to training rows, and the number of reduced rows by cap.

    Rows for pairs alone do not count in the total that the caps are shares of. Their weights are reduced like those of
    the other rows of their prompts and actors.
    """
    weight = candidates.weight[rows] / THOUSANDTHS
    train = (split == TRAIN) & judged
    of_train = dense(group[train])
    row, actor = _renumbered(member, train)
    limited = influence.capped(weight[train], (row, dense(actor)), of_train, rules)
    alone = (split == TRAIN) & ~judged
    if alone.any():
        of_group, of_actor = np.ones(int(group.max()) + 1), np.ones(int(member[1].max(initial=-1)) + 1)
        of_group[np.flatnonzero(present(group[train]))] = limited.prompts
        of_actor[np.flatnonzero(present(actor))] = limited.actors
        row, actor = _renumbered(member, alone)
        theirs = np.bincount(row, minlength=int(np.count_nonzero(alone)))
        mean = np.bincount(row, of_actor[actor], len(theirs)) / np.maximum(theirs, 1)
        weight[alone] *= of_group[group[alone]] * np.where(theirs > 0, mean, 1.0)
    weight[train] = limited.weight
    return weight, {"capped_actor": int(limited.by_actor.sum()), "capped_prompt": int(limited.by_prompt.sum())}
