"""The ids under which the events of an erased actor are stored: the caller's own id, its hash, or both."""

from collections.abc import Sequence

from sqlalchemy.orm import Session

from app.feedback import service as feedback
from app.privacy.erasures.tables import Erasure


def forms_of(row: Erasure) -> list[str]:
    """Returns the ids; none once the erasure is done."""
    return [form for form in (row.actor, row.pseudonym) if form is not None]


def digests_of(row: Erasure) -> list[bytes]:
    """Returns the digests of these ids, by which tombstones know them."""
    return [digest for digest in (row.actor_sha256, row.pseudonym_sha256) if digest is not None]


def covers(row: Erasure, digest: bytes) -> bool:
    """Returns whether the erasure is about events that are stored under the id with this digest."""
    return digest in digests_of(row)


def are_kept_away(session: Session, project: str, digests: Sequence[bytes]) -> bool:
    return all(feedback.is_kept_away(session, project, digest) for digest in digests)


def place_in_log(place: str) -> tuple[int, int]:
    """Returns the number of the id whose events are listed, and the position up to where they are."""
    number, _, position = place.rpartition(":")
    return int(number or 0), int(position)
