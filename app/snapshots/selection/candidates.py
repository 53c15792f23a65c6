"""The rows that a snapshot could have: labelled completions and edited texts, stored on disk.

Legend: N rows, P distinct prompts, C completions with signals.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from app.snapshots.selection.text_keys import AT_ONCE, Prompts
from app.spill.arrays import SpilledColumns
from app.spill.texts import SpilledTexts


class KeptSpans(NamedTuple):
    """The parts that edits kept of E undesirable completions, with K spans.

    row     (E,) candidates, ascending
    ending  (E,) whether the edits kept the end of the completion
    offset  (E + 1,) where the spans of each begin, and the end of the last
    spans   (K, 2) first character and last + 1
    """

    row: NDArray[np.int32]
    ending: NDArray[np.bool_]
    offset: NDArray[np.int64]
    spans: NDArray[np.int32]


@dataclass(frozen=True)
class Candidates:
    """N rows in columns on disk; each access reads its column again."""

    columns: SpilledColumns
    rows: int
    checkpoints: Sequence[str]
    reasons: Sequence[str]
    prompts: Prompts

    def __len__(self) -> int:
        return self.rows

    @property
    def ids(self) -> pa.Array:
        """The (C,) ids of the completions."""
        return self.columns.strings("id")

    @property
    def rank(self) -> NDArray[np.int32]:
        """The (C,) ranks of the ids in sorted order."""
        return self.columns.read("rank")

    @property
    def checkpoint(self) -> NDArray[np.int32]:
        """The (C,) indices in `checkpoints`, -1 for none."""
        return self.columns.read("checkpoint")

    @property
    def writer_log_prob(self) -> NDArray[np.float64] | None:
        """The (C,) mean log-probs per token of the completions, in nats, as their servers gave them; NaN for those
        without. None if none has any."""
        return self.columns.read("writer log prob") if "writer log prob" in self.columns else None

    @property
    def message(self) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
        """The (C,) offsets and lengths of the JSON texts of completions that are messages of more than a text; -1 for
        the others. None if there are none."""
        if "message place" not in self.columns:
            return None
        return self.columns.read("message place"), self.columns.read("message length")

    @property
    def kept(self) -> KeptSpans | None:
        """The parts that edits kept; None if edits were not compared with their originals."""
        if "kept row" not in self.columns:
            return None
        row, ending, count, spans = (self.columns.read(f"kept {name}") for name in ("row", "ending", "count", "spans"))
        return KeptSpans(row, ending, np.concatenate(([0], np.cumsum(count, dtype=np.int64))), spans)

    @property
    def completion(self) -> NDArray[np.int32]:
        """The (N,) numbers of the rows' completions."""
        return self.columns.read("completion")

    @property
    def edit(self) -> NDArray[np.uint64]:
        """The (N,) hashes, 64 bits, of edited texts; 0 for the completion itself."""
        return self.columns.read("edit")

    @property
    def judged(self) -> NDArray[np.bool_]:
        """The (N,) flags of rows with a label; the others are for pairs alone."""
        return self.columns.read("judged")

    @property
    def compared(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """The (E, 2) compared candidates; (E, 3) numbers of actors who prefer the first, the second, neither."""
        return self.columns.read("compared"), self.columns.read("compared votes")

    @property
    def label(self) -> NDArray[np.bool_]:
        """The (N,) labels, true for desirable."""
        return self.columns.read("label")

    @property
    def weight(self) -> NDArray[np.int32]:
        """The (N,) weights in thousandths."""
        return self.columns.read("weight")

    @property
    def reason(self) -> NDArray[np.int16]:
        """The (N,) indices in `reasons`."""
        return self.columns.read("reason")

    @property
    def moment(self) -> NDArray[np.int64]:
        """The (N,) times of the newest signals behind the rows, µs since 1970."""
        return self.columns.read("moment")

    @property
    def prompt(self) -> NDArray[np.int32]:
        """The (N,) indices in `prompts`."""
        return self.columns.read("prompt")

    @property
    def place(self) -> NDArray[np.int64]:
        """The (N,) offsets of the rows' texts, which are `length` bytes long."""
        return self.columns.read("place")

    @property
    def length(self) -> NDArray[np.int32]:
        return self.columns.read("length")

    @property
    def said(self) -> NDArray[np.uint64]:
        """The (N, 2) keys of prompt and completion, equal for rows with equal texts."""
        return self.columns.read("said")

    @property
    def members(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """The (row, actor) of each actor on the row's winning side; actors are ranked by id."""
        return self.columns.read("member row"), self.columns.read("member actor")

    def completions(self, texts: SpilledTexts, which: NDArray[np.integer[Any]] | None = None) -> Iterator[str]:
        """Yields the text of each row, or of the rows in `which`."""
        place, length = self.place, self.length
        if which is not None:
            place, length = place[which], length[which]
        for start in range(0, len(place), AT_ONCE):
            part = slice(start, start + AT_ONCE)
            for text in texts.read(place[part], length[part]):
                yield text.decode("utf-8", "surrogatepass")
