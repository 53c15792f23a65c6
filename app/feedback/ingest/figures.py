"""Figures of the intake of one process since it started, written in its event loop alone."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from app.feedback.ingest.entries import IngestEntry
from app.feedback.ingest.finding_counts import FindingCounts
from app.feedback.ingest.protected import ProtectedEntry
from app.histogram import Histogram

#: Upper bounds of the bodies in one transaction.
BODIES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 500)

#: The statuses of `BodyOutcome`, and those of bodies that have none: they break the API's rules (invalid), Postgres
#: refuses them (refused), or could not store them then (unavailable).
OUTCOMES = ("stored", "replayed", "conflict", "erased", "erased_actor", "invalid", "refused", "unavailable")


class IngestFigures:
    """Bodies by kind, project and outcome, and the transactions that stored them.

    outcomes        by one of `OUTCOMES`
    findings        of personal data, by project, mode (mask, reject) and kind; those of replays are not counted again
    bodies          the bodies of each transaction
    commit_seconds  the duration of each transaction, its commit included
    """

    def __init__(self) -> None:
        self.outcomes: defaultdict[tuple[str, str, str], int] = defaultdict(int)
        self.findings: Counter[tuple[str, str, str]] = Counter()
        self.new_findings = FindingCounts()
        self.bodies = Histogram(BODIES)
        self.commit_seconds = Histogram()

    def count(self, kind: str, project: str, outcome: str, number: int = 1) -> None:
        self.outcomes[kind, project, outcome] += number

    def committed(self, kind: str, entries: Sequence[IngestEntry], results: Sequence[Any], seconds: float) -> None:
        """Counts a transaction with its results: outcomes with a status, and errors without one."""
        outcomes = self.outcomes
        for entry, result in zip(entries, results, strict=True):
            outcomes[kind, entry.row[0], getattr(result, "status", "refused")] += 1
        self.bodies.observe(len(entries))
        self.commit_seconds.observe(seconds)

    def redacted(self, entries: Sequence[ProtectedEntry], results: Sequence[Any]) -> None:
        """Counts what was masked in bodies that are stored now, and what bodies were refused for."""
        found: Counter[tuple[str, str, str]] = Counter()
        for each, result in zip(entries, results, strict=True):
            if each.found and (getattr(result, "status", None) == "stored" or result is each.refusal):
                for kind, number in each.found.items():
                    found[each.entry.row[0], each.by.mode, kind] += number
        self.findings += found
        self.new_findings.add(found)
