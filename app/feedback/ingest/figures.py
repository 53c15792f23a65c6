"""Figures of the intake of one process since it started, written in its event loop alone."""

from collections.abc import Iterable, Sequence

from app.feedback.ingest.entries import IngestEntry
from app.histogram import Histogram

#: Upper bounds of the bodies in one transaction.
BODIES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 500)


class IngestFigures:
    """Bodies by kind, project and outcome, and the transactions that stored them.

    outcomes        a status of `BodyOutcome`; `invalid` for bodies that no rule of the API admits, `refused` for those
                    that Postgres refuses, `unavailable` for those that it could not store then
    bodies          the bodies of each transaction
    commit_seconds  the duration of each transaction, its commit included
    """

    def __init__(self) -> None:
        self.outcomes: dict[tuple[str, str, str], int] = {}
        self.bodies = Histogram(BODIES)
        self.commit_seconds = Histogram()

    def count(self, kind: str, project: str, outcome: str, number: int = 1) -> None:
        key = (kind, project, outcome)
        self.outcomes[key] = self.outcomes.get(key, 0) + number

    def committed(self, kind: str, entries: Sequence[IngestEntry], outcomes: Iterable[str], seconds: float) -> None:
        """Counts the outcomes of a transaction."""
        known = self.outcomes
        for entry, outcome in zip(entries, outcomes, strict=True):
            key = (kind, entry.row[0], outcome)
            known[key] = known.get(key, 0) + 1
        self.bodies.observe(len(entries))
        self.commit_seconds.observe(seconds)
