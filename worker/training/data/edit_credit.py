"""Weighs the tokens of undesirable completions that users edited: those that the edit kept less than those it changed.

ω_t = κ, the recipe's `edit_kept_weight`, for the tokens that lie mostly in kept characters, and 1 for the others: half
a token that changed makes it a changed one. The end token has ω = κ if the edited text ends where the completion does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from worker.training.data.tokens import Span, Weights

#: The column of shards with what edits kept: {spans: [{start, end}], ending}, null for the other rows.
KEPT = "kept"


@dataclass
class EditCredit:
    """Counts edited rows and their tokens, as they are trained on."""

    rows: int = 0
    tokens: int = 0
    kept_tokens: int = 0

    def add(self, weights: Weights) -> None:
        self.rows += 1
        self.tokens += len(weights)
        self.kept_tokens += int(np.count_nonzero(weights != 1))

    def report(self) -> dict[str, Any]:
        """Returns the figures for training.json."""
        share = self.kept_tokens / self.tokens if self.tokens else None
        return {"rows": self.rows, "tokens": self.tokens, "kept_tokens": self.kept_tokens, "kept_share": share}


def credited(batch: Mapping[str, Sequence[Any]], index: int, kept_weight: float) -> Mapping[str, Any] | None:
    """Returns what an edit kept of a row of the batch; None if the row is not weighed by it: it has no edit, is
    desirable, or has spans with weights of their own.
    """
    if kept_weight == 1 or KEPT not in batch or batch["label"][index] is not False or _given(batch, index):
        return None
    kept: Mapping[str, Any] | None = batch[KEPT][index]
    return kept


def keeps_ending(batch: Mapping[str, Sequence[Any]], index: int, kept_weight: float) -> bool:
    kept = credited(batch, index, kept_weight)
    return kept is not None and bool(kept["ending"])


def spans_of(batch: Mapping[str, Sequence[Any]], index: int, kept_weight: float) -> list[Span]:
    """Returns the spans of a row with their weights: those of the row, or what an edit changed and what it kept.

    Changed ones come first, since of spans that share as much of a token the first one weighs it.
    """
    kept = credited(batch, index, kept_weight)
    if kept is None:
        return [Span(span["start"], span["end"], span["weight"]) for span in _given(batch, index)]
    completion = batch["completion"][index]
    length = len(completion if isinstance(completion, str) else completion[0]["content"])
    bounds = [0, *(span[name] for span in kept["spans"] for name in ("start", "end")), length]
    changed = (Span(start, end, 1.0) for start, end in zip(bounds[::2], bounds[1::2], strict=True) if start < end)
    return [*changed, *(Span(span["start"], span["end"], kept_weight) for span in kept["spans"])]


def _given(batch: Mapping[str, Sequence[Any]], index: int) -> Sequence[Mapping[str, Any]]:
    return (batch["spans"][index] if "spans" in batch else None) or ()
