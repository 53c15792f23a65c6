"""Approval of a release by segment, weighted by the segments' shares of its outputs. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from thumbwheel import wire

from app.monitoring.exposures.outputs import Outputs
from app.statistics.shares import wilson
from app.statistics.weighted_shares import weighted_share


def label_share(desirable: int, undesirable: int) -> dict[str, Any]:
    """Returns the fields of `wire.LabelShare`."""
    labels = desirable + undesirable
    low, high = wilson(desirable, labels) or (None, None)
    return {
        "desirable": desirable,
        "undesirable": undesirable,
        "approval": desirable / labels if labels else None,
        "low": low,
        "high": high,
    }


def segmented(key: str, cells: Sequence[Mapping[str, Any]], outputs: Outputs | None) -> wire.SegmentedApproval:
    """Returns the labels by segment, most labels first.

    cells  value (null for none), rest (whether these are all other values), desirable, undesirable
    """
    counts = None if outputs is None else _counts(key, cells, outputs)
    segments = [
        wire.SegmentApproval(
            value=cell["value"],
            rest=cell["rest"],
            exposures=None if counts is None else counts[number],
            **label_share(cell["desirable"], cell["undesirable"]),
        )
        for number, cell in enumerate(cells)
    ]
    segments.sort(key=lambda item: (item.rest, -(item.desirable + item.undesirable), item.value or ""))
    return wire.SegmentedApproval(
        key=key, segments=segments, exposure_weighted=None if outputs is None else _weighted(segments, outputs.total)
    )


def _counts(key: str, cells: Sequence[Mapping[str, Any]], outputs: Outputs) -> list[int]:
    """Returns the outputs of each segment; of the rest, all that belong to no segment of the list."""
    counts = outputs.values.get(key, {})
    listed = [0 if cell["rest"] else counts.get(cell["value"] or "", 0) for cell in cells]
    return [outputs.total - sum(listed) if cell["rest"] else count for cell, count in zip(cells, listed, strict=True)]


def _weighted(segments: Sequence[wire.SegmentApproval], total: int) -> wire.WeightedApproval | None:
    known = [item for item in segments if item.exposures and item.desirable + item.undesirable]
    covered = sum(item.exposures or 0 for item in known)
    if not covered:
        return None
    found = weighted_share(
        [item.desirable for item in known],
        [item.desirable + item.undesirable for item in known],
        [(item.exposures or 0) / covered for item in known],
    )
    if found is None:
        return None
    approval, low, high = found
    return wire.WeightedApproval(approval=approval, low=low, high=high, covered=covered / total)
