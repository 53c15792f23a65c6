"""Compares two policies on the same feedback. Pure: frames in, a preview's parts out."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

import numpy as np
import polars as pl
from thumbwheel import wire
from thumbwheel.wire.previews import (
    ClassSize,
    GuardEffect,
    PolicyEffect,
    ReasonCount,
    ResolvedLabel,
    SignalCount,
)

from app.feedback.reading.event_time import NO_TIME
from app.labels.guards.influence import capped
from app.labels.policy import EDITED_TEXT
from app.labels.verdicts import THOUSANDTHS
from app.labels.whole_log.events import Log, microseconds
from app.labels.whole_log.labelled import Labelled

#: The steps by which ratings are counted on their scale: every scale of 5, 6 or 11 values keeps its values.
STEPS = 20

LABELS: tuple[ResolvedLabel, ...] = ("desirable", "undesirable", "nothing")
IMPLICIT = ("accept", "reject", "copy", "regenerate", "escalate", "reopen", "resolve")
_NAMES = pl.Enum(LABELS)


@dataclass(frozen=True)
class Named:
    """A policy with the identity that a preview shows. `version` None: a document that isn't stored."""

    policy: wire.LabelPolicy
    version: int | None
    sha256: str


def effect(named: Named, labelled: Labelled, guards: GuardEffect) -> PolicyEffect:
    """Returns the counts of a policy's labels, reasons and signals."""
    named_labels = with_names(labelled.completions)
    return PolicyEffect(
        version=named.version,
        name=named.policy.name,
        sha256=named.sha256,
        signals=_signals(labelled.said, named_labels),
        reasons=_reasons(named_labels, labelled.rewrites),
        desirable=_with_texts(_size(named_labels, "desirable"), labelled.rewrites),
        undesirable=_size(named_labels, "undesirable"),
        nothing=named_labels.filter(pl.col("name") == "nothing").height,
        guards=guards,
    )


def said_since(log: Log, since: datetime) -> pl.Series:
    """Returns the rows of the completions with feedback since then, or with feedback at an unknown time."""
    recent = (log.events.moment >= microseconds(since)) | (log.events.moment == microseconds(NO_TIME))
    return pl.Series(np.unique(log.events.completion[recent]))


def only(labelled: Labelled, rows: pl.Series) -> Labelled:
    """Returns the labels of some rows of the completions. Earlier feedback on them still counts."""
    if len(rows) == labelled.completions.height:
        return labelled
    numbers = pl.DataFrame({"completion": rows.cast(pl.UInt32)}).with_row_index("number")

    def renumbered(frame: pl.DataFrame) -> pl.DataFrame:
        joined = frame.join(numbers, on="completion", maintain_order="left")
        return joined.with_columns(completion=pl.col("number")).drop("number")

    return replace(
        labelled,
        completions=labelled.completions[rows],
        votes=renumbered(labelled.votes),
        judgements=labelled.judgements.filter(
            labelled.completion_of(labelled.judgements["judged"]).is_in(rows.implode())
        ),
        rewrites=renumbered(labelled.rewrites),
        said=renumbered(labelled.said),
    )


def guards_of(
    named: Named, everybodys: Labelled, left_out: Collection[str], labelled: Labelled, prompts: pl.DataFrame
) -> GuardEffect:
    """Returns the effect of the guards of a policy.

    everybodys  the labels when no actor is left out
    left_out    actors in quarantine; `labelled` is without their votes
    prompts     completion_id str · prompt, equal for completions of the same prompt
    """
    out = everybodys.actors.is_in(list(left_out))
    quarantined = everybodys.judgements.filter(out.gather(everybodys.judgements["actor"]))
    rows, members = _rows(labelled)
    weight = rows["weight"].cast(pl.Float64).to_numpy() / THOUSANDTHS
    group = (
        rows.join(prompts.unique("completion_id"), on="completion_id", how="left", maintain_order="left")
        # A completion whose prompt isn't known is a group of its own.
        .select(pl.col("prompt").cast(pl.String).fill_null("row " + pl.col("row").cast(pl.String)).rank("dense") - 1)
        .to_series()
        .cast(pl.UInt32)
        .to_numpy()
    )
    numbers = (members["row"].to_numpy(), members["actor"].to_numpy())
    result = capped(weight, numbers, group, named.policy.guards.influence)
    return GuardEffect(
        quarantined_actors=quarantined["actor"].n_unique(),
        quarantined_votes=quarantined.height,
        capped_rows=int(np.count_nonzero(result.by_actor | result.by_prompt)),
        weight_before_caps=round(float(weight.sum()), 3),
        weight_after_caps=round(float(result.weight.sum()), 3),
    )


def signals_of(labelled: Labelled, completion_ids: Iterable[str]) -> dict[str, list[str]]:
    """Returns the signals on each of these completions in words, as `thumbs up`; repetitions once, with their count."""
    wanted = pl.DataFrame({"completion_id": list(completion_ids)}, schema={"completion_id": pl.String})
    rows = labelled.completions.select("completion_id").with_row_index("completion").join(wanted, on="completion_id")
    counts = (
        labelled.said.join(rows, on="completion")
        .with_columns(words=pl.concat_str("kind", _detail(), separator=" ", ignore_nulls=True))
        .group_by("completion_id", "words")
        .len()
        .sort("completion_id", "words")
    )
    signals: dict[str, list[str]] = {}
    for completion_id, words, count in counts.iter_rows():
        signals.setdefault(completion_id, []).append(words if count == 1 else f"{words} ×{count}")
    return signals


def _rows(labelled: Labelled) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Returns the rows for training: row, completion_id, weight; and the actors behind each: row, actor."""
    numbered = labelled.completions.with_row_index("completion")
    rows = numbered.filter(pl.col("known") & pl.col("label").is_not_null()).with_row_index("row")
    agreed = (
        labelled.votes.select("completion", "actor", "desirable")
        .join(rows.select("completion", "row", "label"), on="completion")
        .filter(pl.col("desirable") == pl.col("label"))
    )
    texts = labelled.rewrites.with_row_index("row", offset=rows.height).join(
        numbered.select("completion", "completion_id"), on="completion"
    )
    columns = ["row", "completion_id", "weight"]
    whole = pl.concat([rows.select(columns), texts.select(columns)])
    writers = texts.select("row", pl.col("actors").alias("actor")).explode("actor")
    return whole, pl.concat([agreed.select("row", "actor"), writers], how="vertical_relaxed")


def with_names(completions: pl.DataFrame) -> pl.DataFrame:
    """Adds the column `name`, the label in words."""
    name = pl.when(pl.col("label")).then(pl.lit("desirable")).when(~pl.col("label")).then(pl.lit("undesirable"))
    return completions.with_columns(name=name.otherwise(pl.lit("nothing")).cast(_NAMES))


def _detail() -> pl.Expr:
    """Returns the detail, for ratings rounded down to steps: a scale of a thousand values would give as many lines."""
    share = (pl.col("detail").cast(pl.Float64, strict=False) * STEPS).floor() / STEPS
    return pl.when(pl.col("kind") == "rating").then(share.round(2).cast(pl.String)).otherwise("detail").alias("detail")


def name_of_detail() -> pl.Expr:
    """Returns the names that a policy would use: the flags one by one, the outcome without its value."""
    flags = pl.when(pl.col("kind") == "flag").then(pl.col("detail").str.split(", "))
    outcome = pl.when(pl.col("kind") == "outcome").then(pl.col("detail").str.replace(" (true|false)$", ""))
    return flags.otherwise(pl.concat_list(outcome))


def _signals(said: pl.DataFrame, completions: pl.DataFrame) -> list[SignalCount]:
    distinct = said.with_columns(name=completions["name"].gather(said["completion"])).group_by(
        "kind", "detail", "says", "name"
    )
    counted = (
        distinct.len()
        .group_by("kind", _detail(), pl.col("says").cast(pl.String))
        .agg(*(pl.col("len").filter(pl.col("name") == label).sum().alias(label) for label in LABELS))
        .sort("kind", "detail", "says", nulls_last=True)
    )
    return [SignalCount.model_validate(row) for row in counted.iter_rows(named=True)]


def _reasons(completions: pl.DataFrame, rewrites: pl.DataFrame) -> list[ReasonCount]:
    """Returns the counts by reason, including the edited texts, which are rows of their own."""
    counted = (
        completions.group_by(pl.col("reason").cast(pl.String), "name")
        .agg(rows=pl.len(), weight=pl.col("weight").cast(pl.Int64).sum())
        .sort(["name", "rows", "reason"], descending=[False, True, False])
    )
    counts = [
        ReasonCount(reason=row["reason"], label=row["name"], rows=row["rows"], weight=row["weight"] / THOUSANDTHS)
        for row in counted.iter_rows(named=True)
    ]
    if rewrites.height:
        weight = _sum(rewrites["weight"])
        counts.append(ReasonCount(reason=EDITED_TEXT, label="desirable", rows=rewrites.height, weight=weight))
    return counts


def _size(completions: pl.DataFrame, label: Literal["desirable", "undesirable"]) -> ClassSize:
    of_class = completions.filter(pl.col("name") == label)
    known = of_class.filter("known")
    return ClassSize(rows=known.height, weight=_sum(known["weight"]), without_text=of_class.height - known.height)


def _with_texts(size: ClassSize, rewrites: pl.DataFrame) -> ClassSize:
    more = {"rows": size.rows + rewrites.height, "weight": size.weight + _sum(rewrites["weight"])}
    return size.model_copy(update=more)


def _sum(weights: pl.Series) -> float:
    return int(weights.cast(pl.Int64).sum()) / THOUSANDTHS
