"""Texts of others: the synthetic data set of presidio-research, which no detector here was written for."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.redaction.figures import Finder, Share
from benchmarks.redaction.peers import KINDS_OF_PRESIDIO


def measured_on(find: Finder, path: Path) -> dict[str, Any]:
    """Returns recall and precision on a JSON list of texts with spans, by kind.

    A found span counts as right if it overlaps a value of its kind; the texts have other personal data, too, such as
    social security numbers, so that a span of the wrong kind counts against precision.
    """
    values, covered, found, right = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    for document in json.loads(path.read_text(encoding="utf-8")):
        spans = find(document["full_text"])
        known = [
            (KINDS_OF_PRESIDIO[span["entity_type"]], span["start_position"], span["end_position"])
            for span in document["spans"]
            if span["entity_type"] in KINDS_OF_PRESIDIO
        ]
        for kind, start, end in known:
            values[kind] += 1
            covered[kind] += any(span[0] == kind and span[1] <= start and span[2] >= end for span in spans)
        for kind, start, end in spans:
            found[kind] += 1
            right[kind] += any(value[0] == kind and start < value[2] and end > value[1] for value in known)
    return {
        "recall": {kind: Share(covered[kind], values[kind]).document() for kind in sorted(values)},
        "precision": {kind: Share(right[kind], found[kind]).document() for kind in sorted(found)},
    }
