"""The labelled rows that an audit draws from, and the texts of the drawn rows."""

import hashlib
from collections.abc import Collection, Iterator
from typing import Any, NamedTuple
from uuid import UUID

import polars as pl

from app.feedback.reading.carriers import CARRIERS, Carrier
from app.feedback.reading.service import LogTexts
from app.labels.policy import EDITED_TEXT
from app.labels.resolving import Resolved
from app.labels.verdicts import THOUSANDTHS
from app.labels.whole_log.labelled import Labelled

#: Texts that are read at a time.
TEXTS = 4_096


class Labelling(NamedTuple):
    """One row: a completion with a label, or a text that somebody wrote in its place.

    position, carrier  position and carrier of the completion's text
    edited             position of the edit that wrote the row's text; None for the completion itself
    """

    completion_id: str
    label: bool
    weight: float
    reason: str
    checkpoint_id: UUID | None
    position: int
    carrier: Carrier
    edited: int | None


class RowTexts(NamedTuple):
    prompt: str  # JSON
    completion: str


def labellings(resolved: Resolved, texts: LogTexts) -> Iterator[Labelling]:
    """Yields the labelled rows of a log without their texts, in no particular order."""
    for _, labelled in resolved.parts():
        for row in _completions(labelled).filter(pl.col("label").is_not_null()).iter_rows(named=True):
            own = {name: row[name] for name in ("label", "weight", "reason")}
            yield _labelling(row, row["completion_id"], **own, edited=None)
        yield from _rewrites(labelled, texts)


def texts_of(rows: Collection[Labelling], texts: LogTexts) -> dict[str, RowTexts]:
    """Returns the texts of a few rows by id. Rows erased in the meantime are absent."""
    edits = texts.edited([row.edited for row in rows if row.edited is not None])
    by_id: dict[str, RowTexts] = {}
    for carrier in CARRIERS:
        carried = [row for row in rows if row.carrier == carrier]
        looks = texts.looks(carrier, sorted({row.position for row in carried}))
        for row in carried:
            if row.position in looks and (row.edited is None or row.edited in edits):
                prompt, completion = looks[row.position]
                by_id[row.completion_id] = RowTexts(prompt, completion if row.edited is None else edits[row.edited])
    return by_id


def _completions(labelled: Labelled) -> pl.DataFrame:
    return labelled.completions.with_row_index("completion").filter("known").drop("reasons")


def _rewrites(labelled: Labelled, texts: LogTexts) -> Iterator[Labelling]:
    """Yields the rows of edited texts. Reads the texts, as the ids contain their hashes."""
    joined = labelled.rewrites.select("completion", pl.col("position").alias("edited"), pl.col("weight").alias("own"))
    rows = joined.join(_completions(labelled), on="completion", maintain_order="left")
    for part in rows.iter_slices(TEXTS):
        edited = texts.edited(part["edited"].to_list())
        for row in part.filter(pl.col("edited").is_in(list(edited))).iter_rows(named=True):  # without rows just erased
            sha256 = hashlib.sha256(edited[row["edited"]].encode()).hexdigest()
            row_id = f"{row['completion_id']}#edit:{sha256[:16]}"
            yield _labelling(row, row_id, label=True, weight=row["own"], reason=EDITED_TEXT, edited=row["edited"])


def _labelling(
    row: dict[str, Any], row_id: str, *, label: bool, weight: int, reason: str, edited: int | None
) -> Labelling:
    checkpoint_id = row["checkpoint_id"]
    return Labelling(
        completion_id=row_id,
        label=label,
        weight=weight / THOUSANDTHS,
        reason=reason,
        checkpoint_id=UUID(checkpoint_id) if checkpoint_id else None,
        position=row["position"],
        carrier=CARRIERS[row["carrier"]],
        edited=edited,
    )
