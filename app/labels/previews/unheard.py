"""Signals that a policy does not mention. Pure."""

import polars as pl
from thumbwheel import wire
from thumbwheel.wire.policies import SaysUnless
from thumbwheel.wire.previews import Unheard

from app.labels.previews.preview import IMPLICIT, name_of_detail
from app.labels.whole_log.labelled import Labelled


def unheard(policy: wire.LabelPolicy, labelled: Labelled) -> list[Unheard]:
    """Returns the signals in the feedback that the policy has no rule for, most frequent first, without comments."""
    counts = (
        labelled.said.group_by("kind", "detail")
        .len()
        .with_columns(name_of_detail().alias("detail"))
        .explode("detail")
        .group_by("kind", "detail")
        .agg(pl.col("len").sum())
        .sort(["len", "kind", "detail"], descending=[True, False, False])
    )
    missing = []
    for kind, detail, count in counts.iter_rows():
        why = _why_unheard(policy, kind, detail)
        if why is not None:
            missing.append(Unheard(kind=kind, detail=detail, signals=count, why=why))
    return missing


def _why_unheard(policy: wire.LabelPolicy, kind: str, detail: str | None) -> str | None:
    rules = policy.signals
    match kind:
        case "comment" | "retract":
            return None
        case "outcome":
            if detail in rules.outcome:
                return None
            return "no rule for this outcome: add it to signals.outcome; an empty rule ignores it"
        case "flag":
            if any(detail in tier.flags for tier in rules.flag.values()):
                return None
            return "no tier has this flag: add it to one in signals.flag; a tier with says null ignores it"
        case "thumbs" | "edit" | "rating" | "preference" | "not_preferred" | "even":
            return None
        case implicit if implicit in IMPLICIT:
            says: SaysUnless | None = getattr(rules, "copy_" if implicit == "copy" else implicit)
            return None if says is not None else f"signals.{implicit} is null: give it a label if it should count"
        case _:
            return "this version of the server does not know the signal"
