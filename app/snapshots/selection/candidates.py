"""All rows that a snapshot could have: what was labelled, and what was written in place of it, with its texts on disk.

Legend: N rows, P different prompts, C completions that something was said of.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from app.snapshots.selection.text_keys import AT_ONCE, Prompts
from app.spill.arrays import Columns
from app.spill.texts import Texts


@dataclass(frozen=True)
class Candidates:
    """N rows; what is known of them is on disk, and read anew each time that it is asked for."""

    columns: Columns
    rows: int
    checkpoints: Sequence[str]
    reasons: Sequence[str]
    prompts: Prompts

    def __len__(self) -> int:
        return self.rows

    @property
    def ids(self) -> pa.Array:
        """(C,) of the completions."""
        return self.columns.strings("id")

    @property
    def rank(self) -> NDArray[np.int32]:
        """(C,) place of each id among all, in order."""
        return self.columns.read("rank")

    @property
    def checkpoint(self) -> NDArray[np.int32]:
        """(C,) number in `checkpoints`, -1 for none."""
        return self.columns.read("checkpoint")

    @property
    def completion(self) -> NDArray[np.int32]:
        """(N,) number of its completion."""
        return self.columns.read("completion")

    @property
    def edit(self) -> NDArray[np.uint64]:
        """(N,) of a text that was written in place of its completion: 64 bits of its hash; else 0."""
        return self.columns.read("edit")

    @property
    def judged(self) -> NDArray[np.bool_]:
        """(N,) whether it has a label; the others are for pairs alone."""
        return self.columns.read("judged")

    @property
    def compared(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """(E, 2) candidates that were compared; (E, 3) numbers of actors who prefer the first, the second, neither."""
        return self.columns.read("compared"), self.columns.read("compared votes")

    @property
    def label(self) -> NDArray[np.bool_]:
        """(N,)."""
        return self.columns.read("label")

    @property
    def weight(self) -> NDArray[np.int32]:
        """(N,) thousandths."""
        return self.columns.read("weight")

    @property
    def reason(self) -> NDArray[np.int16]:
        """(N,) number in `reasons`."""
        return self.columns.read("reason")

    @property
    def moment(self) -> NDArray[np.int64]:
        """(N,) of the newest signal that made it, µs since 1970."""
        return self.columns.read("moment")

    @property
    def prompt(self) -> NDArray[np.int32]:
        """(N,) number in `prompts`."""
        return self.columns.read("prompt")

    @property
    def place(self) -> NDArray[np.int64]:
        """(N,) of the completion's text, which is `length` bytes long."""
        return self.columns.read("place")

    @property
    def length(self) -> NDArray[np.int32]:
        return self.columns.read("length")

    @property
    def said(self) -> NDArray[np.uint64]:
        """(N, 2) the same for rows whose prompt and completion say the same."""
        return self.columns.read("said")

    @property
    def members(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """(row, actor) of each actor on its winning side; actors are numbered by their ids."""
        return self.columns.read("member row"), self.columns.read("member actor")

    def completions(self, texts: Texts, which: NDArray[np.integer[Any]] | None = None) -> Iterator[str]:
        """The text of each row, or of each of these."""
        place, length = self.place, self.length
        if which is not None:
            place, length = place[which], length[which]
        for start in range(0, len(place), AT_ONCE):
            part = slice(start, start + AT_ONCE)
            for text in texts.read(place[part], length[part]):
                yield text.decode("utf-8", "surrogatepass")
