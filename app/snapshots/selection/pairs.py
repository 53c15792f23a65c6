"""Makes pairs of completions of one prompt for the objectives that learn from pairs. Pure.

compared   completions that people compared; the majority decides, and a tie makes no pair
edit       a text that a user wrote in place of a completion, preferred to this completion
derived    a desirable and an undesirable completion of one prompt, which nobody compared
"""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

Source = Literal["compared", "edit", "derived"]
SOURCES: tuple[Source, ...] = get_args(Source)


@dataclass(frozen=True)
class Pairs:
    """M pairs, ordered by source, then by rows. `votes`: (M, 3) numbers of actors who prefer the chosen row, the
    rejected row, neither. `tied`: the number of compared pairs with as many votes each way, which are left out."""

    chosen: NDArray[np.int32]
    rejected: NDArray[np.int32]
    source: NDArray[np.int8]
    votes: NDArray[np.int32]
    tied: int

    def __len__(self) -> int:
        return len(self.chosen)

    def where(self, chosen: NDArray[np.bool_]) -> "Pairs":
        return Pairs(self.chosen[chosen], self.rejected[chosen], self.source[chosen], self.votes[chosen], self.tied)

    def renumbered(self, left: NDArray[np.bool_]) -> "Pairs":
        """Returns the pairs with the new numbers of the rows in `left`, which must include the rows of all pairs."""
        number = np.cumsum(left, dtype=np.int32) - 1
        return replace(self, chosen=number[self.chosen], rejected=number[self.rejected])

    def counts(self) -> dict[Source, int]:
        """Returns the number of pairs from each source."""
        counted = np.bincount(self.source, minlength=len(SOURCES)).tolist()
        return dict(zip(SOURCES, counted, strict=True))


def pairs_from(
    compared: NDArray[np.integer[Any]],
    votes: NDArray[np.integer[Any]],
    edits: NDArray[np.integer[Any]],
    authors: NDArray[np.integer[Any]],
    derived: NDArray[np.integer[Any]],
) -> Pairs:
    """Returns each pair of rows once: comparisons take precedence over edits, and both over derived pairs.

    compared, votes  (E, 2) rows, and (E, 3) votes for the first, for the second, for neither
    edits, authors   (F, 2) rows of edited texts and of their originals, and the number of authors of each
    derived          (G, 2) chosen and rejected rows
    """
    compared, votes = _added_up(compared, votes)
    turned = votes[:, 1] > votes[:, 0]
    compared[turned] = compared[turned][:, ::-1]
    votes[turned] = votes[turned][:, [1, 0, 2]]
    even = votes[:, 0] == votes[:, 1]
    edits, authors = _added_up(edits, np.stack([authors, np.zeros_like(authors), np.zeros_like(authors)], axis=1))
    backwards = authors[:, 1] > authors[:, 0]
    edits[backwards] = edits[backwards][:, ::-1]
    authors[backwards] = authors[backwards][:, [1, 0, 2]]
    fresh = ~_among(edits, compared) & (authors[:, 0] > authors[:, 1])
    edits, authors = edits[fresh], authors[fresh]
    derived = derived[~_among(derived, np.concatenate([compared, edits]))]
    parts = (compared[~even], edits, derived)
    rows = np.concatenate(parts)
    source = np.repeat(np.arange(len(parts), dtype=np.int8), [len(part) for part in parts])
    counted = np.concatenate([votes[~even], authors, np.zeros((len(derived), 3), dtype=np.int64)]).astype(np.int32)
    order = np.lexsort((rows[:, 1], rows[:, 0], source))
    rows = rows[order].astype(np.int32)
    return Pairs(rows[:, 0], rows[:, 1], source[order], counted[order], int(np.count_nonzero(even)))


def _added_up(
    pairs: NDArray[np.integer[Any]], votes: NDArray[np.integer[Any]]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns each pair once, smaller number first, with the sums of its votes; drops pairs of a row with itself."""
    two = pairs[:, 0] != pairs[:, 1]
    ordered: NDArray[np.int64] = pairs[two].astype(np.int64)
    votes = votes[two].astype(np.int64)
    turned = ordered[:, 0] > ordered[:, 1]
    ordered[turned] = ordered[turned][:, ::-1]
    votes[turned] = votes[turned][:, [1, 0, 2]]
    key, number = np.unique(_key(ordered), return_inverse=True)
    sums = np.zeros((len(key), 3), dtype=np.int64)
    np.add.at(sums, number, votes)
    return np.stack([key >> 32, key & 0xFFFFFFFF], axis=1), sums


def _among(pairs: NDArray[np.integer[Any]], others: NDArray[np.integer[Any]]) -> NDArray[np.bool_]:
    """Returns a mask of the pairs that are among the others in either direction."""
    these, those = (_key(np.sort(two, axis=1).astype(np.int64)) for two in (pairs, others))
    return np.isin(these, those)


def _key(pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    return pairs[:, 0] << 32 | pairs[:, 1]


def pairs_of(rows: Iterable[tuple[Hashable, bool]]) -> list[tuple[int, int]]:
    """Returns (chosen, rejected) row numbers, counted from 0, for rows of (prompt, desirable).

    A prompt with rows of one class gives no pair. For the others, each row of the larger class is used once, and the
    rows of the rarer class are repeated in turn: no row is left out, and no prompt counts for more than its larger
    class. A preference, one row of each class, gives exactly its pair. Prompts keep the order of their first rows.
    """
    numbers: dict[Hashable, int] = {}
    known = [(numbers.setdefault(prompt, len(numbers)), desirable) for prompt, desirable in rows]
    prompt = np.array([number for number, _ in known], dtype=np.int64)
    pairs = pairs_of_rows(prompt, np.array([desirable for _, desirable in known], dtype=bool))
    return [(chosen, rejected) for chosen, rejected in pairs.tolist()]


def pairs_of_rows(prompt: NDArray[np.integer], desirable: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Returns (M, 2) chosen and rejected rows, as `pairs_of` does, for prompts that are numbers from 0 on."""
    count_of_rows = len(prompt)
    first = np.full(int(prompt.max(initial=-1)) + 1, count_of_rows, dtype=np.int32)
    first[prompt[::-1]] = np.arange(count_of_rows, dtype=np.int32)[::-1]
    # Sort by prompt; prompts keep the order of their first rows.
    order = np.argsort(first[prompt], kind="stable").astype(np.int32)
    up, down = order[desirable[order]], order[~desirable[order]]
    del order
    ups, downs = (np.bincount(prompt[side], minlength=len(first)) for side in (up, down))
    prompts = np.argsort(first, kind="stable")
    up_start, down_start = np.zeros(len(first), dtype=np.int64), np.zeros(len(first), dtype=np.int64)
    up_start[prompts] = np.cumsum(ups[prompts]) - ups[prompts]
    down_start[prompts] = np.cumsum(downs[prompts]) - downs[prompts]
    both = prompts[(ups[prompts] > 0) & (downs[prompts] > 0)]
    turns = np.maximum(ups[both], downs[both])
    of = np.repeat(both.astype(np.int32), turns)
    turn = np.arange(len(of), dtype=np.int32) - np.repeat((np.cumsum(turns) - turns).astype(np.int32), turns)
    pairs = np.empty((len(of), 2), dtype=np.int32)
    for column, (rows, start, count) in enumerate(((up, up_start, ups), (down, down_start, downs))):
        pairs[:, column] = rows[start[of] + turn % count[of]]
    return pairs
