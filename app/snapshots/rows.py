"""What labels say of the rows that a snapshot could have: completions with a label, and what was written in place of
some. Pure.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from app.labels.policy import EDITED_TEXT
from app.labels.sets import Labelled


@dataclass(frozen=True)
class Rows:
    """Columns of N rows, about C completions.

    ids, checkpoints     (C,) of the completions
    position, carrier    (C,) where their texts are, and what has them: see `app.labels.sets.Log`
    completion           its number among the C
    rewrite              position of the edit whose text it is, -1 for the completion itself
    weight               thousandths
    reason               number in `reasons`
    moment               of the newest signal that made it, µs since 1970
    members              (row, actor) of each actor on its winning side; actors are numbered by their ids
    """

    ids: pa.Array
    checkpoints: pa.Array
    position: NDArray[np.int64]
    carrier: NDArray[np.int64]
    reasons: Sequence[str]
    completion: NDArray[np.int32]
    rewrite: NDArray[np.int64]
    label: NDArray[np.bool_]
    weight: NDArray[np.int32]
    reason: NDArray[np.int16]
    moment: NDArray[np.int64]
    members: tuple[NDArray[np.int64], NDArray[np.int64]]


def rows_of(labelled: Labelled, *, checkpoint_id: str | None = None) -> tuple[Rows, Counter[str]]:
    """The rows, and how many completions give none, by the reason.

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
    rewrites = labelled.rewrites.filter(pl.Series(usable).gather(labelled.rewrites["completion"]))
    names = completions["reason"].gather(own).cast(pl.String)
    reasons = [*sorted(names.unique().to_list()), EDITED_TEXT]
    numbers = {name: number for number, name in enumerate(reasons)}
    codes = names.replace_strict(numbers, return_dtype=pl.Int16).to_numpy()

    labels = label.fill_null(value=False).to_numpy()
    votes = labelled.votes
    about = votes["completion"].to_numpy().astype(np.int64)
    place = np.full(len(completions), -1)
    place[own] = np.arange(len(own))
    won = (votes["desirable"].to_numpy() == labels[about]) & (place[about] >= 0)
    moment = np.zeros(len(own), dtype=np.int64)
    np.maximum.at(moment, place[about[won]], votes["moment"].to_physical().to_numpy()[won])
    each = rewrites["actors"].list.len().to_numpy()
    about_them = np.concatenate([own, rewrites["completion"].to_numpy()])
    which, completion = np.unique(about_them, return_inverse=True)
    of_rewrites = np.repeat(len(own) + np.arange(len(rewrites)), each)
    # Actors by their ids: sums in the order of who came first would differ in the last digit.
    rank = np.empty(len(labelled.actors), dtype=np.int64)
    rank[labelled.actors.arg_sort().to_numpy()] = np.arange(len(rank))
    actors = np.concatenate([votes["actor"].to_numpy()[won], rewrites["actors"].explode().to_numpy()])
    return Rows(
        ids=completions["completion_id"].gather(which).to_arrow(),
        checkpoints=completions["checkpoint_id"].gather(which).to_arrow(),
        position=completions["position"].to_numpy()[which],
        carrier=completions["carrier"].to_numpy()[which].astype(np.int64),
        reasons=reasons,
        completion=completion.astype(np.int32),
        rewrite=np.concatenate([np.full(len(own), -1), rewrites["position"].to_numpy()]),
        label=np.concatenate([labels[own], np.ones(len(rewrites), dtype=bool)]),
        weight=np.concatenate([completions["weight"].to_numpy()[own], rewrites["weight"].to_numpy()]),
        reason=np.concatenate([codes, np.full(len(rewrites), numbers[EDITED_TEXT], dtype=np.int16)]),
        moment=np.concatenate([moment, rewrites["moment"].to_numpy()]),
        members=(np.concatenate([place[about[won]], of_rewrites]), rank[actors.astype(np.int64)]),
    ), drops
