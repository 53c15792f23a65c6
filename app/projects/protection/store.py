"""SQL of the settings on redaction and actors, and of the key of pseudonyms."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import exists, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.database import now
from app.projects.protection.tables import ProtectionVersion, PseudonymKey, RedactionFindings


def newest_first(session: Session, project: str, limit: int) -> Sequence[ProtectionVersion]:
    query = select(ProtectionVersion).where(ProtectionVersion.project_id == project)
    return session.scalars(query.order_by(ProtectionVersion.number.desc()).limit(limit)).all()


def newest_hashing(session: Session, project: str, before: int) -> ProtectionVersion | None:
    """Returns the newest version before this one by which actors were hashed."""
    query = select(ProtectionVersion).where(
        ProtectionVersion.project_id == project, ProtectionVersion.number < before, ProtectionVersion.hashes_actors
    )
    return session.scalars(query.order_by(ProtectionVersion.number.desc()).limit(1)).one_or_none()


def append(
    session: Session, project: str, mode: str, kinds: Sequence[str], *, hashes_actors: bool
) -> ProtectionVersion:
    """Appends a version. The caller has locked the project's row."""
    number = select(func.coalesce(func.max(ProtectionVersion.number), 0) + 1).where(
        ProtectionVersion.project_id == project
    )
    row = ProtectionVersion(
        project_id=project,
        number=session.scalars(number).one(),
        mode=mode,
        kinds=list(kinds),
        hashes_actors=hashes_actors,
        created_at=now(),
    )
    session.add(row)
    session.flush()
    return row


def projects_with_pseudonyms(session: Session) -> Sequence[str]:
    """Returns the projects whose feedback is masked, or whose actors are hashed, now."""
    newest = (
        select(ProtectionVersion)
        .distinct(ProtectionVersion.project_id)
        .order_by(ProtectionVersion.project_id, ProtectionVersion.number.desc())
        .subquery()
    )
    query = select(newest.c.project_id).where((newest.c.mode == "mask") | newest.c.hashes_actors)
    return session.scalars(query.order_by(newest.c.project_id)).all()


def findings(session: Session, project: str) -> Sequence[RedactionFindings]:
    query = select(RedactionFindings).where(RedactionFindings.project_id == project)
    return session.scalars(query.order_by(RedactionFindings.mode, RedactionFindings.kind)).all()


def key_fingerprint(session: Session) -> bytes | None:
    return session.scalars(select(PseudonymKey.fingerprint)).one_or_none()


def key_replaced_at(session: Session, project: str) -> datetime | None:
    """Returns since when there is the present key, if actors of the project were hashed by another one before."""
    hashed_before = exists().where(
        ProtectionVersion.project_id == project,
        ProtectionVersion.hashes_actors,
        ProtectionVersion.created_at < PseudonymKey.since,
    )
    return session.scalars(select(PseudonymKey.since).where(hashed_before)).one_or_none()


def lock_key(session: Session) -> None:
    """Keeps other transactions from changing the key's fingerprint until this one ends."""
    session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended("thumbwheel pseudonym key", 0))))


def set_key(session: Session, fingerprint: bytes) -> None:
    values = {"one": True, "fingerprint": fingerprint, "since": now()}
    session.execute(insert(PseudonymKey).values(**values).on_conflict_do_nothing())
    session.execute(update(PseudonymKey).values(fingerprint=fingerprint, since=values["since"]))
