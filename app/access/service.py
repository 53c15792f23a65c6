"""Creates, lists, rotates, revokes and recognises API keys."""

from datetime import timedelta
from uuid import UUID

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from thumbwheel import wire

from app.access import key_uses, keys, store
from app.access.operator_log import service as operator_log
from app.access.tables import ApiKey
from app.database import now
from app.errors import Conflict, Fault, Forbidden, Invalid, NotFound, Unauthenticated
from app.merge_patch import merge_patch
from app.pages import Page, key_of_cursor, page_of

FIRST_ADMIN = wire.NewKey(name="first admin", scopes=["admin"])


def recognise(session: Session, secret: str) -> ApiKey:
    """Returns the key of a request. Raises `Unauthenticated` if it is unknown, expired or revoked."""
    key = store.of_secret(session, keys.sha256_of(secret), now())
    if key is None:
        raise Unauthenticated("Unknown API key: check it, or ask an admin for a new one.", code="unknown_key")
    reason = keys.reason_to_refuse(expires_at=key.expires_at, revoked_at=key.revoked_at, at=now())
    if reason is not None:
        raise Unauthenticated(reason, code="closed_key")
    key_uses.note(key.id)
    return key


def first_admin_key(session: Session) -> str | None:
    """Creates a key with every right and returns its secret, or None if a valid one exists.

    Callers in several processes wait for each other: one of them creates the key.
    """
    store.hold_first_key_lock(session)
    if store.has_open_admin_key(session, now()):
        return None
    operator_log.record(session, "create_first_key")
    return _insert(session, FIRST_ADMIN).secret


def replaced_first_admin_key(session: Session) -> str:
    """Revokes every first admin key and returns the secret of a new one, for an operator who has lost the key.

    Keys that were created with the lost key stay valid.
    """
    store.hold_first_key_lock(session)
    store.revoke_named(session, FIRST_ADMIN.name, now())
    store.announce_change(session)
    operator_log.record(session, "replace_first_key")
    return _insert(session, FIRST_ADMIN).secret


def create_key(session: Session, new: wire.NewKey, *, within: str | None) -> wire.CreatedKey:
    """Creates a key. `within` is the only project of the caller, None for all projects.

    Raises `Forbidden` for a key that is valid for more than `within`, `NotFound` for an unknown project, `Invalid` for
    a time of expiry in the past.
    """
    if within is not None and new.project != within:
        raise Forbidden(
            f"Your key is limited to project {within}: set project to {within!r} in the new key.", code="other_project"
        )
    if new.expires_at is not None and new.expires_at <= now():
        fault = Fault("/expires_at", "is in the past: send a later time, or leave it out")
        raise Invalid("The new key would have expired already.", code="expired_already", faults=[fault])
    created = _insert(session, new)
    operator_log.note(session, created.project, key_id=created.id, name=created.name, scopes=created.scopes)
    return created


def list_keys(session: Session, *, within: str | None, cursor: str | None, limit: int) -> Page[wire.Key]:
    """Returns a page of keys, newest first, revoked and expired ones included. `within` as for `create_key`."""
    rows = store.newest_first(session, within, key_of_cursor(cursor, UUID), limit + 1)
    return page_of(rows, limit, lambda row: str(row.id), _without_secret)


def change(session: Session, key_id: UUID, change: wire.KeyChange, *, within: str | None) -> wire.Key:
    """Changes the given limits of the key. Raises `NotFound`, also for a key of another project."""
    key = _require_locked(session, key_id, within)
    key.limits = merge_patch(key.limits, change.limits.model_dump(exclude_unset=True))
    session.flush()
    operator_log.note(session, key.project_id, limits=key.limits)
    store.announce_change(session)
    return _without_secret(key)


def revoke(session: Session, key_id: UUID, *, within: str | None) -> wire.Key:
    """Revokes the key; a second call changes nothing. Raises `NotFound`, also for a key of another project."""
    key = _require_locked(session, key_id, within)
    if key.revoked_at is None:
        key.revoked_at = now()
        session.flush()
        store.announce_change(session)
    return _without_secret(key)


def rotate(session: Session, key_id: UUID, rotation: wire.KeyRotation, *, within: str | None) -> wire.CreatedKey:
    """Replaces the secret of a key. The one before stays valid during the overlap; one from before an earlier rotation
    ends at once. Raises `NotFound`, also for a key of another project, and `Conflict` for a revoked or expired key.
    """
    key = _require_locked(session, key_id, within)
    reason = keys.reason_to_refuse(expires_at=key.expires_at, revoked_at=key.revoked_at, at=now())
    if reason is not None:
        raise Conflict(f"A key that is not valid cannot be rotated. {reason}", code="closed_key")
    overlap = timedelta(hours=rotation.overlap_hours)
    secret = keys.new_secret(browser=bool(key.origins))
    key.previous_sha256 = key.secret_sha256 if overlap else None
    key.previous_until = now() + overlap if overlap else None
    key.secret_sha256, key.prefix = keys.sha256_of(secret), keys.prefix_of(secret)
    session.flush()
    store.announce_change(session)
    return wire.CreatedKey(**_without_secret(key).model_dump(), secret=secret)


def _require_locked(session: Session, key_id: UUID, within: str | None) -> ApiKey:
    key = store.locked(session, key_id, within)
    if key is None:
        raise NotFound(f"There is no key {key_id} that you may change.", code="key_not_found")
    operator_log.note(session, key.project_id, name=key.name)
    return key


def _insert(session: Session, new: wire.NewKey) -> wire.CreatedKey:
    secret = keys.new_secret(browser=bool(new.origins))
    values = {
        "project_id": new.project,
        "name": new.name,
        "prefix": keys.prefix_of(secret),
        "secret_sha256": keys.sha256_of(secret),
        "scopes": sorted(set(new.scopes)),
        "origins": sorted(set(new.origins)),
        "limits": new.limits_to_store(),
        "expires_at": new.expires_at,
    }
    try:
        with session.begin_nested():
            row = store.insert_key(session, values)
    except IntegrityError as error:
        # The import contracts forbid a look-up of the project here: the foreign key detects an unknown one.
        raise NotFound(f"There is no project {new.project}.", code="project_not_found") from error
    return wire.CreatedKey(**_without_secret(row).model_dump(), secret=secret)


def _without_secret(row: ApiKey) -> wire.Key:
    return wire.Key.model_validate(
        {
            "id": row.id,
            "name": row.name,
            "prefix": row.prefix,
            "scopes": row.scopes,
            "project": row.project_id,
            "origins": row.origins,
            "limits": row.limits,
            "created_at": row.created_at,
            "expires_at": row.expires_at,
            "revoked_at": row.revoked_at,
            "last_used_at": row.last_used_at,
            "previous_secret_until": row.previous_until,
        }
    )
