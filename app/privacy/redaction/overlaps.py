"""Joins detected spans that overlap. Pure."""

from collections.abc import Iterable

from app.privacy.redaction.findings import KINDS, DetectedSpan

_PRECEDENCE = {kind: number for number, kind in enumerate(KINDS)}


def without_overlaps(spans: Iterable[DetectedSpan]) -> list[DetectedSpan]:
    """Returns the spans sorted by start, overlapping ones as their union with the kind that comes first in `KINDS`.

    A union covers every character that any detector reported: what sticks out of the winner would otherwise be kept.
    """
    joined: list[DetectedSpan] = []
    for span in sorted(spans, key=lambda span: (span.start, span.end)):
        if joined and span.start < joined[-1].end:
            last = joined[-1]
            kind = min(last.kind, span.kind, key=_PRECEDENCE.__getitem__)
            joined[-1] = DetectedSpan(kind, last.start, max(last.end, span.end))
        else:
            joined.append(span)
    return joined
