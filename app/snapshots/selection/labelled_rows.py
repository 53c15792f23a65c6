"""What labels say of the rows that a snapshot could have: completions with a label, what was written in place of some,
and completions without a label that were compared with others. Pure.
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
from app.labels.verdicts import THOUSANDTHS
from app.labels.whole_log.events import NAME
from app.labels.whole_log.labelled import Labelled

#: What a row for pairs alone has for a reason, and its weight: that of a thumb.
COMPARED, THUMB = "compared", THOUSANDTHS


class Compared(NamedTuple):
    """Two completions that were compared, once each, by numbers of actors.

    completion  number of the first one
    other       what stands for the id of the other one: see `app.labels.whole_log.events.id_hash`
    votes       (E, 3) of those who prefer the first one, the other one, neither
    """

    completion: NDArray[np.int32]
    other: NDArray[np.uint64]
    votes: NDArray[np.int32]


@dataclass(frozen=True)
class Rows:
    """Columns of N rows, about C completions.

    ids                  (C,) of the completions
    checkpoint           (C,) number in `checkpoints`, which are sorted; -1: none is known
    position, carrier    (C,) where their texts are, and what has them: see `app.labels.whole_log.events.Log`
    completion           its number among the C
    rewrite              position of the edit whose text it is, -1 for the completion itself
    judged               whether it has a label; the others are rows for pairs alone
    weight               thousandths
    reason               number in `reasons`, which are sorted
    moment               of the newest signal that made it, µs since 1970
    members              (row, actor) of each actor on its winning side, or who compared it; actors are numbered by ids
    compared             which of the C were compared
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
    compared: Compared


def ranks_of(actors: pl.Series) -> NDArray[np.int32]:
    """Of each actor the place of its id among all: sums in the order of who came first differ in the last digit."""
    rank = np.empty(len(actors), dtype=np.int32)
    rank[actors.arg_sort().to_numpy()] = np.arange(len(rank), dtype=np.int32)
    return rank


def rows_of(
    labelled: Labelled, ranks: NDArray[np.int32], *, checkpoint_id: str | None = None
) -> tuple[Rows, Counter[str]]:
    """The rows, and how many completions give none, by the reason.

    ranks          of the actors: `ranks_of`
    checkpoint_id  only completions of this checkpoint
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
    told = pl.concat([completions["reason"].gather(own), pl.Series("reason", without, NAME)])
    reasons, reason = _numbered(told)

    labels = label.fill_null(value=False).to_numpy()
    votes = labelled.votes
    about = votes["completion"].to_numpy()
    place = np.full(len(completions), -1, dtype=np.int32)
    place[own] = np.arange(len(own), dtype=np.int32)
    won = (votes["desirable"].to_numpy() == labels[about]) & (place[about] >= 0)
    voted = place[about[won]]
    moment = np.zeros(len(own), dtype=np.int64)
    np.maximum.at(moment, voted, votes["moment"].to_physical().to_numpy()[won])
    each = rewrites["actors"].list.len().to_numpy()
    place[own] = -1
    place[alone] = np.arange(len(alone), dtype=np.int32)
    comparers = compared.select("completion", "moment", "actors").explode("actors")
    theirs = place[comparers["completion"].to_numpy()]
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
    return Rows(
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
        compared=Compared(
            np.searchsorted(which, first["completion"].to_numpy()).astype(np.int32),
            first["other"].to_numpy(),
            first.select("preferred", "not_preferred", "even").cast(pl.Int32).to_numpy(),
        ),
    ), drops


def _numbered(column: pl.Series) -> tuple[list[str], NDArray[np.int32]]:
    """The names in it, sorted, and of each row the number of its own; -1 for null."""
    names = sorted(column.drop_nulls().unique().cast(pl.String).to_list())
    numbers = {name: number for number, name in enumerate(names)}
    return names, column.replace_strict(numbers, default=-1, return_dtype=pl.Int32).to_numpy()
