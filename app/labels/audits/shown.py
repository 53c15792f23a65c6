"""Converts audits and their items into responses. Pure."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from thumbwheel import wire
from thumbwheel.wire.policy_values import Label

from app.labels.audits.mislabelled import mislabelled_shares
from app.labels.audits.sample import kind_of
from app.labels.audits.tables import LabelAudit, LabelAuditItem
from app.statistics.shares import wilson


class VerdictTally(NamedTuple):
    """The number of items of one audit with the same label and reason, in all and by newest verdict."""

    audit_id: UUID
    label: bool
    reason: str
    items: int
    agreed: int
    disagreed: int
    unsure: int


def shown_audit(row: LabelAudit, tallies: Sequence[VerdictTally]) -> wire.Audit:
    by_kind: dict[tuple[bool, str], list[VerdictTally]] = {}
    for tally in sorted(tallies, key=lambda tally: (not tally.label, kind_of(tally.reason))):
        by_kind.setdefault((tally.label, kind_of(tally.reason)), []).append(tally)
    derived = {"project", "items", "pending", "classes", "kinds", "mislabelled_good", "mislabelled_bad"}
    classes = [
        {"label": _label(label), "rows": rows, **_figure(tally for tally in tallies if tally.label is label)}
        for label, rows in ((True, row.rows_desirable), (False, row.rows_undesirable))
    ]
    return wire.Audit.model_validate(
        {
            **{name: getattr(row, name) for name in wire.Audit.model_fields if name not in derived},
            "project": row.project_id,
            "items": sum(tally.items for tally in tallies),
            "pending": sum(tally.items - tally.agreed - tally.disagreed - tally.unsure for tally in tallies),
            "classes": classes,
            **_mislabelled(*classes),
            "kinds": [
                {"label": _label(label), "kind": kind, **_figure(of_kind)} for (label, kind), of_kind in by_kind.items()
            ],
        }
    )


def _mislabelled(desirable: dict[str, Any], undesirable: dict[str, Any]) -> dict[str, float]:
    if desirable["precision"] is None or undesirable["precision"] is None:
        return {}
    shares = mislabelled_shares(
        desirable["rows"], undesirable["rows"], 1 - desirable["precision"], 1 - undesirable["precision"]
    )
    return {"mislabelled_good": shares.good, "mislabelled_bad": shares.bad}


def _figure(tallies: Iterable[VerdictTally]) -> dict[str, Any]:
    items = agreed = disagreed = unsure = 0
    for tally in tallies:
        items, unsure = items + tally.items, unsure + tally.unsure
        agreed, disagreed = agreed + tally.agreed, disagreed + tally.disagreed
    judged = agreed + disagreed
    low, high = wilson(agreed, judged) or (None, None)
    precision = agreed / judged if judged else None
    counts = {"items": items, "judged": judged, "agreed": agreed, "unsure": unsure}
    return {**counts, "precision": precision, "low": low, "high": high}


def shown_item(row: LabelAuditItem, history: list[wire.GivenVerdict]) -> wire.AuditItem:
    return wire.AuditItem(
        number=row.number,
        completion_id=row.completion_id,
        prompt=row.prompt,
        completion=row.completion,
        label=_label(row.label),
        weight=row.weight,
        reason=row.reason,
        kind=kind_of(row.reason),
        checkpoint_id=row.checkpoint_id,
        suspicion=row.suspicion,
        verdict=history[-1].verdict if history else None,
        history=history,
    )


def _label(desirable: bool) -> Label:
    return "desirable" if desirable else "undesirable"
