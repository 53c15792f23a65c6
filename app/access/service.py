"""Creates, lists, revokes and recognises API keys."""

from uuid import UUID

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from thumbwheel import wire

from app.access import keys, store
from app.access.tables import ApiKey
from app.database import now
from app.errors import Fault, Forbidden, Invalid, NotFound, Unauthenticated
from app.pages import Page, key_of_cursor, page_of

FIRST_ADMIN = wire.NewKey(name="first admin", scopes=["admin"])


def recognise(session: Session, secret: str) -> ApiKey:
    """Returns the key of a request. Raises `Unauthenticated` if it is unknown, expired or revoked."""
    key = store.of_secret(session, keys.sha256_of(secret))
    if key is None:
        raise Unauthenticated("Unknown API key: check it, or ask an admin for a new one.", code="unknown_key")
    reason = keys.reason_to_refuse(expires_at=key.expires_at, revoked_at=key.revoked_at, at=now())
    if reason is not None:
        raise Unauthenticated(reason, code="closed_key")
    return key


def first_admin_key(session: Session) -> str | None:
    """Creates a key with every right and returns its secret, or None if a valid one exists.

    Callers in several processes wait for each other: one of them creates the key.
    """
    store.hold_first_key_lock(session)
    if store.has_open_admin_key(session, now()):
        return None
    return _insert(session, FIRST_ADMIN).secret


def replaced_first_admin_key(session: Session) -> str:
    """Revokes every first admin key and returns the secret of a new one, for an operator who has lost the key.

    Keys that were created with the lost key stay valid.
    """
    store.hold_first_key_lock(session)
    store.revoke_named(session, FIRST_ADMIN.name, now())
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
    return _insert(session, new)


def list_keys(session: Session, *, within: str | None, cursor: str | None, limit: int) -> Page[wire.Key]:
    """Returns a page of keys, newest first, revoked and expired ones included. `within` as for `create_key`."""
    rows = store.newest_first(session, within, key_of_cursor(cursor, UUID), limit + 1)
    return page_of(rows, limit, lambda row: str(row.id), _without_secret)


def revoke(session: Session, key_id: UUID, *, within: str | None) -> wire.Key:
    """Revokes the key; a second call changes nothing. Raises `NotFound`, also for a key of another project."""
    key = store.locked(session, key_id, within)
    if key is None:
        raise NotFound(f"There is no key {key_id} that you may revoke.", code="key_not_found")
    if key.revoked_at is None:
        key.revoked_at = now()
        session.flush()
    return _without_secret(key)


def _insert(session: Session, new: wire.NewKey) -> wire.CreatedKey:
    secret = keys.new_secret()
    values = {
        "project_id": new.project,
        "name": new.name,
        "prefix": keys.prefix_of(secret),
        "secret_sha256": keys.sha256_of(secret),
        "scopes": sorted(set(new.scopes)),
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
            "created_at": row.created_at,
            "expires_at": row.expires_at,
            "revoked_at": row.revoked_at,
        }
    )
