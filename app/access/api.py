"""API keys over HTTP."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from thumbwheel import wire

from app.access import service
from app.access.caller import Caller, may
from app.pages import Page
from app.web.problems import problems
from app.web.session import Transaction

router = APIRouter(tags=["keys"])
Admin = Annotated[Caller, Depends(may("admin"))]


@router.post(
    "/v1/keys",
    operation_id="create_key",
    summary="Create a key",
    status_code=201,
    response_model=wire.CreatedKey,
    responses=problems(404),
)
def create_key(new: wire.NewKey, session: Transaction, caller: Admin) -> wire.CreatedKey:
    """Returns the new key with its secret, which is shown only this once: only its hash is stored."""
    return service.create_key(session, new, within=caller.project)


@router.get(
    "/v1/keys", operation_id="list_keys", summary="List keys", response_model=Page[wire.Key], responses=problems()
)
def list_keys(
    session: Transaction,
    caller: Admin,
    cursor: str | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> Page[wire.Key]:
    """Lists the keys, newest first and without secrets, including revoked and expired ones."""
    return service.list_keys(session, within=caller.project, cursor=cursor, limit=limit)


@router.patch(
    "/v1/keys/{key_id}",
    operation_id="change_key",
    summary="Change the limits of a key",
    response_model=wire.Key,
    responses=problems(404),
)
def change_key(key_id: UUID, change: wire.KeyChange, session: Transaction, caller: Admin) -> wire.Key:
    """Changes the given limits, at once; null means any number (RFC 7396). Everything else about a key is fixed."""
    return service.change(session, key_id, change, within=caller.project)


@router.delete(
    "/v1/keys/{key_id}",
    operation_id="revoke_key",
    summary="Revoke a key",
    response_model=wire.Key,
    responses=problems(404),
)
def revoke_key(key_id: UUID, session: Transaction, caller: Admin) -> wire.Key:
    """Revokes the key from now on. Doing it again changes nothing."""
    return service.revoke(session, key_id, within=caller.project)


@router.post(
    "/v1/keys/{key_id}/rotate",
    operation_id="rotate_key",
    summary="Replace the secret of a key",
    response_model=wire.CreatedKey,
    responses=problems(404, 409),
)
def rotate_key(key_id: UUID, rotation: wire.KeyRotation, session: Transaction, caller: Admin) -> wire.CreatedKey:
    """Returns the key with a new secret, which is shown only this once. During the overlap, the secret before is valid
    too, so that senders can be changed one after the other."""
    return service.rotate(session, key_id, rotation, within=caller.project)
