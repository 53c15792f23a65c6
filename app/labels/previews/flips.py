"""Completions whose label differs between two policies. Pure."""

from collections.abc import Mapping
from typing import Any

import polars as pl
from thumbwheel.wire.previews import Flip, FlipExample, Verdict

from app.labels.previews.preview import LABELS, with_names
from app.labels.previews.shortened_texts import CompletionTexts, last_text, shortened
from app.labels.verdicts import THOUSANDTHS
from app.labels.whole_log.labelled import Labelled

EXAMPLES = 10


def flipped(before: Labelled, after: Labelled) -> pl.DataFrame:
    """Returns the completions with both labels: completion_id, position, and for each side name_…, weight_…
    (thousandths), reasons_….

    Both sides come from the same log, and so have the same completions.
    """
    sides = [
        with_names(labelled.completions).select(
            "completion_id",
            pl.col("name").alias(f"name_{side}"),
            pl.col("weight").alias(f"weight_{side}"),
            pl.col("reasons").alias(f"reasons_{side}"),
        )
        for labelled, side in ((before, "before"), (after, "after"))
    ]
    sides[1] = sides[1].with_columns(after.completions["position"])
    if sides[0]["completion_id"].equals(sides[1]["completion_id"]):  # both come from one reading of the log
        return pl.concat([sides[0], sides[1].drop("completion_id")], how="horizontal")
    return sides[0].join(sides[1], on="completion_id")


def examples_of(joined: pl.DataFrame) -> pl.DataFrame:
    """Returns up to `EXAMPLES` completions of each flip: first one of each pair of reasons, the newest first."""
    pair = ["name_before", "name_after"]
    return (
        joined.filter(pl.col("name_before") != pl.col("name_after"))
        .sort("position", "completion_id", descending=[True, False])
        .with_columns(pl.col("reasons_before", "reasons_after").cast(pl.List(pl.String)))
        .with_columns(
            why=pl.concat_str(
                pl.col("reasons_before").list.join(" "), pl.lit("\n"), pl.col("reasons_after").list.join(" ")
            )
        )
        .with_columns(turn=pl.int_range(pl.len()).over([*pair, "why"]))
        .sort("turn", maintain_order=True)
        .filter(pl.int_range(pl.len()).over(pair) < EXAMPLES)
        .drop("why", "turn")
    )


def matrix(
    joined: pl.DataFrame, shown: pl.DataFrame, texts: Mapping[str, CompletionTexts], signals: Mapping[str, list[str]]
) -> list[Flip]:
    """Returns every pair of labels that occurs, with examples if the two differ.

    joined, shown   results of `flipped` and of `examples_of`
    texts, signals  by the completion ids of `shown`
    """
    counts = joined.group_by("name_before", "name_after").len()
    number = {(row[0], row[1]): row[2] for row in counts.iter_rows()}
    examples: dict[tuple[str, str], list[FlipExample]] = {}
    for row in shown.iter_rows(named=True):
        text = texts.get(row["completion_id"], CompletionTexts(None, None))
        examples.setdefault((row["name_before"], row["name_after"]), []).append(
            FlipExample(
                completion_id=row["completion_id"],
                prompt=shortened(last_text(text.prompt)),
                completion=shortened(text.completion),
                signals=signals.get(row["completion_id"], []),
                before=_verdict(row, "before"),
                after=_verdict(row, "after"),
            )
        )
    return [
        Flip(before=before, after=after, completions=number[before, after], examples=examples.get((before, after), []))
        for before in LABELS
        for after in LABELS
        if (before, after) in number
    ]


def _verdict(row: Mapping[str, Any], side: str) -> Verdict:
    weight = row[f"weight_{side}"] / THOUSANDTHS
    return Verdict(label=row[f"name_{side}"], weight=weight, reasons=row[f"reasons_{side}"])
