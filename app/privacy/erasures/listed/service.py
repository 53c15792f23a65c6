"""Lists the ids of an actor's events, and of the completions that they are about, for the steps of an erasure."""

from collections.abc import Collection, Sequence
from uuid import UUID

from sqlalchemy.orm import Session

from app.privacy.erasures.listed import store
from app.privacy.erasures.tables import Erasure


def remember(session: Session, row: Erasure, actor: str, after: int, limit: int) -> int | None:
    """Stores the ids of up to `limit` events after a position that are stored under this id of the actor, and the ids
    of their completions.

    Returns the position of the last of these events, None if no more follow up to the watermark.
    """
    return store.remember(session, row, actor, after, limit)


def events_of(session: Session, erasure_id: UUID, after: str = "", limit: int | None = None) -> Sequence[str]:
    """Returns the ids of events in their order, those after an id."""
    return store.events_of(session, erasure_id, after, limit)


def completions_of(session: Session, erasure_id: UUID, after: str = "", limit: int | None = None) -> Sequence[str]:
    """Returns the ids of completions in their order, those after an id."""
    return store.completions_of(session, erasure_id, after, limit)


def has_any(session: Session, erasure_id: UUID, completion_ids: Collection[str]) -> bool:
    """Returns whether the erasure has listed one of these completions."""
    return store.has_any(session, erasure_id, completion_ids)


def forget_completions(session: Session, erasure_id: UUID, limit: int) -> int:
    """Deletes up to `limit` ids of completions, and returns their number."""
    return store.forget_completions(session, erasure_id, limit)
