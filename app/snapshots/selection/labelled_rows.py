"""Makes the rows that a snapshot could have from labels: labelled completions, edited texts, and completions without a
label that were compared with others. Pure.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from app.labels.policy import EDITED_TEXT
from app.labels.verdicts import EDIT_REASONS, THOUSANDTHS
from app.labels.whole_log.events import NAME
from app.labels.whole_log.labelled import Labelled

#: The reason and the weight of a row for pairs alone; it weighs as much as a thumb.
COMPARED, THUMB = "compared", THOUSANDTHS


class ComparisonVotes(NamedTuple):
    """E comparisons of two completions, each pair once.

    completion  number of the first completion
    other       hash of the id of the other completion: see `app.labels.whole_log.events.id_hash`
    votes       (E, 3) numbers of actors who prefer the first, the other, neither
    """

    completion: NDArray[np.int32]
    other: NDArray[np.uint64]
    votes: NDArray[np.int32]


@dataclass(frozen=True)
class LabelledRows:
    """The columns of N rows about C completions.

    ids                  (C,) ids of the completions
    checkpoint           (C,) index in `checkpoints`, which are sorted; -1 if unknown
    position, carrier    (C,) the event that carries the text, and the kind: see `app.labels.whole_log.events.Log`
    completion           number of the row's completion among the C
    rewrite              position of the edit that has the row's text, -1 for the completion itself
    judged               whether the row has a label; rows without one are for pairs alone
    weight               thousandths
    reason               index in `reasons`, which are sorted
    moment               time of the newest signal behind the row, µs since 1970
    members              (row, actor) of each actor on the winning side, or who compared it; actors are ranked by id
    compared             comparisons among the C completions
    edits                (row, position) of the edits of each undesirable completion that are a reason of its label or
                         whose text is a row
    """

    ids: pa.Array
    checkpoint: NDArray[np.int32]
    checkpoints: Sequence[str]
    position: NDArray[np.int64]
    carrier: NDArray[np.uint8]
    reasons: Sequence[str]
    completion: NDArray[np.int32]
    rewrite: NDArray[np.int64]
    judged: NDArray[np.bool_]
    label: NDArray[np.bool_]
    weight: NDArray[np.int32]
    reason: NDArray[np.int16]
    moment: NDArray[np.int64]
    members: tuple[NDArray[np.int32], NDArray[np.int32]]
    compared: ComparisonVotes
    edits: tuple[NDArray[np.int32], NDArray[np.int64]]


def ranks_of(actors: pl.Series) -> NDArray[np.int32]:
    """Returns each actor's rank by id: sums in the order of first appearance would differ in the last digit."""
    rank = np.empty(len(actors), dtype=np.int32)
    rank[actors.arg_sort().to_numpy()] = np.arange(len(rank), dtype=np.int32)
    return rank


def rows_of(
    labelled: Labelled, ranks: NDArray[np.int32], *, checkpoint_id: str | None = None
) -> tuple[LabelledRows, Counter[str]]:
    """Returns the rows, and the number of completions that give none, by reason.

    ranks          ranks of the actors, from `ranks_of`
    checkpoint_id  if given, only completions of this checkpoint give rows
    """
    completions = labelled.completions
    wanted = np.ones(len(completions), dtype=bool)
    if checkpoint_id is not None:
        wanted = (completions["checkpoint_id"] == checkpoint_id).fill_null(value=False).to_numpy()
    label = completions["label"]
    has_label, known = label.is_not_null().to_numpy(), completions["known"].to_numpy()
    never = completions["never_train"].to_numpy()
    nothing = completions["reason"].filter(pl.Series(wanted & ~has_label)).value_counts()
    drops = Counter(dict(zip(nothing["reason"].cast(pl.String).to_list(), nothing["count"].to_list(), strict=True)))
    drops["unknown_text"] = int(np.count_nonzero(wanted & has_label & ~known))
    drops["never_train"] = int(np.count_nonzero(wanted & has_label & known & never))

    usable = wanted & known & ~never
    own = np.flatnonzero(usable & has_label)
    compared = labelled.comparisons.filter(pl.Series(usable).gather(labelled.comparisons["completion"]))
    in_pairs = np.zeros(len(completions), dtype=bool)
    in_pairs[compared["completion"].to_numpy()] = True
    in_pairs[labelled.rewrites["completion"].to_numpy()] = True
    alone = np.flatnonzero(usable & ~has_label & in_pairs)
    rewrites = labelled.rewrites.filter(pl.Series(usable).gather(labelled.rewrites["completion"]))
    without = [EDITED_TEXT] * len(rewrites) + [COMPARED] * len(alone)
    given = pl.concat([completions["reason"].gather(own), pl.Series("reason", without, NAME)])
    reasons, reason = _numbered(given)

    labels = label.fill_null(value=False).to_numpy()
    votes = labelled.votes
    about = votes["completion"].to_numpy()
    index = np.full(len(completions), -1, dtype=np.int32)
    index[own] = np.arange(len(own), dtype=np.int32)
    won = (votes["desirable"].to_numpy() == labels[about]) & (index[about] >= 0)
    voted = index[about[won]]
    moment = np.zeros(len(own), dtype=np.int64)
    np.maximum.at(moment, voted, votes["moment"].to_physical().to_numpy()[won])
    of_edits = won & votes["reason"].is_in(EDIT_REASONS).to_numpy()
    edited = np.concatenate([about[of_edits], rewrites["completion"].to_numpy()])
    edits = np.concatenate([votes["position"].to_numpy()[of_edits], rewrites["position"].to_numpy()])
    undesirable = has_label[edited] & ~labels[edited] & (index[edited] >= 0)
    edited, edits = index[edited[undesirable]], edits[undesirable]
    each = rewrites["actors"].list.len().to_numpy()
    index[own] = -1
    index[alone] = np.arange(len(alone), dtype=np.int32)
    comparers = compared.select("completion", "moment", "actors").explode("actors")
    theirs = index[comparers["completion"].to_numpy()]
    of_alone, comparers = theirs[theirs >= 0], comparers.filter(theirs >= 0)
    last = np.zeros(len(alone), dtype=np.int64)
    np.maximum.at(last, of_alone, comparers["moment"].to_numpy())
    about_them = np.concatenate([own, rewrites["completion"].to_numpy(), alone])
    which, completion = np.unique(about_them, return_inverse=True)
    of_rewrites = np.repeat(np.arange(len(own), len(own) + len(rewrites), dtype=np.int32), each)
    checkpoints, checkpoint = _numbered(completions["checkpoint_id"].gather(which))
    actors = np.concatenate(
        [votes["actor"].to_numpy()[won], rewrites["actors"].explode().to_numpy(), comparers["actors"].to_numpy()]
    )
    first = compared.filter("first")
    return LabelledRows(
        ids=completions["completion_id"].gather(which).to_arrow(),
        checkpoint=checkpoint,
        checkpoints=checkpoints,
        position=completions["position"].to_numpy()[which],
        carrier=completions["carrier"].to_numpy()[which],
        reasons=reasons,
        completion=completion.astype(np.int32),
        rewrite=np.concatenate([np.full(len(own), -1), rewrites["position"].to_numpy(), np.full(len(alone), -1)]),
        judged=np.repeat([True, False], [len(own) + len(rewrites), len(alone)]),
        label=np.concatenate([labels[own], np.ones(len(rewrites), dtype=bool), np.zeros(len(alone), dtype=bool)]),
        weight=np.concatenate(
            [
                completions["weight"].to_numpy()[own],
                rewrites["weight"].to_numpy(),
                np.full(len(alone), THUMB, dtype=np.int32),
            ]
        ),
        reason=reason.astype(np.int16),
        moment=np.concatenate([moment, rewrites["moment"].to_numpy(), last]),
        members=(
            np.concatenate([voted, of_rewrites, (len(own) + len(rewrites) + of_alone).astype(np.int32)]),
            ranks[actors],
        ),
        compared=ComparisonVotes(
            np.searchsorted(which, first["completion"].to_numpy()).astype(np.int32),
            first["other"].to_numpy(),
            first.select("preferred", "not_preferred", "even").cast(pl.Int32).to_numpy(),
        ),
        edits=_distinct(edited, edits),
    ), drops


def _distinct(row: NDArray[np.int32], position: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Returns each of the pairs once, in ascending order."""
    order = np.lexsort((position, row))
    row, position = row[order], position[order]
    new = np.append(True, (row[1:] != row[:-1]) | (position[1:] != position[:-1]))[: len(row)]
    return row[new], position[new]


def _numbered(column: pl.Series) -> tuple[list[str], NDArray[np.int32]]:
    """Returns the sorted names in the column, and the index of each row's name; -1 for null."""
    names = sorted(column.drop_nulls().unique().cast(pl.String).to_list())
    numbers = {name: number for number, name in enumerate(names)}
    return names, column.replace_strict(numbers, default=-1, return_dtype=pl.Int32).to_numpy()
