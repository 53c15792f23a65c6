"""SQL of API keys."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import and_, func, insert, or_, select, update
from sqlalchemy.orm import Session

from app.access.keys import ADMIN, CHANGES_CHANNEL
from app.access.tables import ApiKey

#: Number of the advisory lock for creating the first key: any number that nothing else uses.
FIRST_KEY_LOCK = 0x7477_6B31


def insert_key(session: Session, values: dict[str, Any]) -> ApiKey:
    return session.scalars(insert(ApiKey).values(**values).returning(ApiKey)).one()


def of_secret(session: Session, secret_sha256: bytes, at: datetime) -> ApiKey | None:
    """Returns the key with this secret, or with this secret before a rotation whose overlap has not ended."""
    previous = and_(ApiKey.previous_sha256 == secret_sha256, ApiKey.previous_until > at)
    return session.scalars(select(ApiKey).where(or_(ApiKey.secret_sha256 == secret_sha256, previous))).one_or_none()


def announce_change(session: Session) -> None:
    """Tells every process of the API, once this transaction commits, that what it knows of keys may be out of date."""
    session.execute(select(func.pg_notify(CHANGES_CHANNEL, "")))


def locked(session: Session, key_id: UUID, project: str | None) -> ApiKey | None:
    """Returns the key and locks its row until the transaction ends; only a key of `project` unless that is None."""
    query = select(ApiKey).where(ApiKey.id == key_id).with_for_update()
    if project is not None:
        query = query.where(ApiKey.project_id == project)
    return session.scalars(query).one_or_none()


def newest_first(session: Session, project: str | None, before: UUID | None, limit: int) -> Sequence[ApiKey]:
    query = select(ApiKey).order_by(ApiKey.id.desc()).limit(limit)
    if project is not None:
        query = query.where(ApiKey.project_id == project)
    if before is not None:
        query = query.where(ApiKey.id < before)
    return session.scalars(query).all()


def hold_first_key_lock(session: Session) -> None:
    """Takes the lock for creating a first key, which makes other transactions wait until this one ends."""
    session.execute(select(func.pg_advisory_xact_lock(FIRST_KEY_LOCK)))


def has_open_admin_key(session: Session, at: datetime) -> bool:
    """Returns whether a valid key exists that administers every project."""
    query = select(ApiKey.id).where(
        ApiKey.scopes.any(ADMIN),  # type: ignore[arg-type]
        ApiKey.project_id.is_(None),
        ApiKey.revoked_at.is_(None),
        or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > at),
    )
    return session.execute(query.limit(1)).first() is not None


def revoke_named(session: Session, name: str, at: datetime) -> None:
    """Revokes the valid admin keys of this name that administer every project."""
    conditions = ApiKey.scopes.any(ADMIN), ApiKey.project_id.is_(None), ApiKey.revoked_at.is_(None)  # type: ignore[arg-type]
    session.execute(update(ApiKey).where(ApiKey.name == name, *conditions).values(revoked_at=at))
