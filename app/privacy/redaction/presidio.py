"""Microsoft Presidio as a detector, from the extra `presidio`, loaded when a project first needs it."""

from collections.abc import Iterator

from app.privacy.redaction.findings import DetectedSpan


def find(text: str, kinds: frozenset[str]) -> Iterator[DetectedSpan]:
    raise NotImplementedError
