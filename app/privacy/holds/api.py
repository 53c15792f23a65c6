"""Legal holds over HTTP."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from thumbwheel import wire

from app.access.operator_log import service as operator_log
from app.pages import Page
from app.privacy.holds import service
from app.projects.project_of_request import Scoped, scoped
from app.web.problems import problems
from app.web.session import Transaction

router = APIRouter(tags=["privacy"])
Admin = Annotated[Scoped, Depends(scoped("admin"))]


@router.post(
    "/v1/holds",
    operation_id="place_hold",
    summary="Place a legal hold",
    status_code=201,
    response_model=wire.LegalHold,
    responses=problems(404),
)
def place_hold(new: wire.NewHold, session: Transaction, at: Admin) -> wire.LegalHold:
    """Holds feedback of an actor, on a completion, or of the whole project. While a hold is in force, no erasure, no
    retention and no command deletes what it covers. The same request again returns the same hold."""
    hold = service.place(session, at.project, new, at.by)
    operator_log.note(session, hold_id=hold.id, kind=hold.kind)
    return hold


@router.get(
    "/v1/holds",
    operation_id="list_holds",
    summary="List legal holds",
    response_model=Page[wire.LegalHold],
    responses=problems(404),
)
def list_holds(
    session: Transaction, at: Admin, cursor: str | None = None, limit: Annotated[int, Query(ge=1, le=200)] = 50
) -> Page[wire.LegalHold]:
    """Lists all holds, newest first, with their releases."""
    return service.page(session, at.project, cursor=cursor, limit=limit)


@router.get(
    "/v1/holds/{hold_id}",
    operation_id="get_hold",
    summary="Show a legal hold",
    response_model=wire.LegalHold,
    responses=problems(404),
)
def get_hold(session: Transaction, at: Admin, hold_id: UUID) -> wire.LegalHold:
    """Returns a hold with its release."""
    return service.get(session, at.project, hold_id)


@router.post(
    "/v1/holds/{hold_id}/release",
    operation_id="release_hold",
    summary="Release a legal hold",
    response_model=wire.LegalHold,
    responses=problems(403, 404, 409),
)
def release_hold(body: wire.HoldRelease, session: Transaction, at: Admin, hold_id: UUID) -> wire.LegalHold:
    """Releases a hold; erasures and months that waited for it go on. Only the key that placed it may do so, or an
    admin key that opens every project."""
    return service.release(session, at.project, hold_id, body.reason, at.by, limited=at.limited)
