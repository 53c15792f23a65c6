"""The periods in which checkpoints were given to actors, from the entries of the ledger. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from thumbwheel import wire


@dataclass(frozen=True)
class Period:
    """The time from a release to its end: of a live one to the next live one, of a canary to the next other entry.

    number   of its first entry; a canary whose share changes goes on
    action   start, ship, rollback or canary
    ends     None while it lasts
    before   the number of the release that it took over from, or of the live one beside a canary; None if unknown
    """

    number: int
    checkpoint_id: UUID
    action: str
    begins: datetime
    ends: datetime | None = None
    before: int | None = None


def periods(entries: Iterable[wire.Release]) -> list[Period]:
    """Returns the periods of a ledger's entries, which are in the order of their numbers."""
    found: list[Period] = []
    live: int | None = None
    canary: int | None = None
    for entry in entries:
        if canary is not None:
            if entry.action == "canary" and entry.checkpoint_id == found[canary].checkpoint_id:
                continue
            found[canary] = replace(found[canary], ends=entry.created_at)
            canary = None
        if entry.action == "end_canary":
            continue
        before = None if live is None else found[live].number
        if entry.action == "canary":
            canary = len(found)
        else:
            if live is not None:
                found[live] = replace(found[live], ends=entry.created_at)
            live = len(found)
        found.append(Period(entry.number, entry.checkpoint_id, entry.action, entry.created_at, before=before))
    return found
