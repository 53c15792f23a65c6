"""Erasures over HTTP: requests, progress and certificates."""

from typing import Annotated
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query, Response
from thumbwheel import wire

from app.access.operator_log import service as operator_log
from app.pages import Page
from app.privacy.erasures import service
from app.projects.project_of_request import Scoped, scoped
from app.web.problems import problems
from app.web.session import Transaction

router = APIRouter(tags=["privacy"])
Reader = Annotated[Scoped, Depends(scoped("feedback:read"))]
Admin = Annotated[Scoped, Depends(scoped("admin"))]

DONE = {"model": wire.Erasure, "description": "The last erasure is done, and no feedback came since"}


@router.delete(
    "/v1/actors",
    operation_id="erase_actor",
    summary="Erase an actor",
    status_code=202,
    response_model=wire.Erasure,
    responses={200: DONE, **problems(404)},
)
def erase_actor(
    session: Transaction, at: Admin, response: Response, actor: Annotated[wire.Name, Query()]
) -> wire.Erasure:
    """Erases the actor's feedback in the background, from the log to the snapshots. `Location` has the erasure's URL.
    From now on no feedback of the actor is stored. A second request returns the same erasure."""
    erasure = service.request(session, at.project, actor, at.by)
    operator_log.note(session, erasure_id=erasure.id)
    response.headers["Location"] = f"/v1/erasures/{erasure.id}?{urlencode({'project': at.project})}"
    if erasure.state == "done":
        response.status_code = 200
    return erasure


@router.delete(
    "/v1/actors/{actor:path}",
    operation_id="erase_actor_by_path",
    summary="Erase an actor, named in the path",
    status_code=202,
    response_model=wire.Erasure,
    responses={200: DONE, **problems(404)},
)
def erase_actor_by_path(
    session: Transaction, at: Admin, response: Response, actor: Annotated[wire.Name, Path()]
) -> wire.Erasure:
    """Erases the actor named in the path, percent-encoded; the ids `.` and `..` need the request with a parameter."""
    return erase_actor(session, at, response, actor)


@router.get(
    "/v1/erasures",
    operation_id="list_erasures",
    summary="List erasures",
    response_model=Page[wire.Erasure],
    responses=problems(404),
)
def list_erasures(
    session: Transaction, at: Reader, cursor: str | None = None, limit: Annotated[int, Query(ge=1, le=200)] = 50
) -> Page[wire.Erasure]:
    """Lists the erasures, newest first, without their certificates."""
    return service.page(session, at.project, cursor=cursor, limit=limit)


@router.get(
    "/v1/erasures/{erasure_id}",
    operation_id="get_erasure",
    summary="Show an erasure",
    response_model=wire.Erasure,
    responses=problems(404),
)
def get_erasure(session: Transaction, at: Reader, erasure_id: UUID) -> wire.Erasure:
    """Returns the progress of an erasure or the cause of its waiting, and its certificate once it is done."""
    return service.get(session, at.project, erasure_id)


@router.get(
    "/v1/erasures/{erasure_id}/events",
    operation_id="list_erased_events",
    summary="List the events of an erasure",
    response_model=Page[wire.ErasedEvent],
    responses=problems(404),
)
def list_erased_events(
    session: Transaction,
    at: Reader,
    erasure_id: UUID,
    cursor: str | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
) -> Page[wire.ErasedEvent]:
    """Lists the ids of the erased events in their order; no other data of them is left."""
    return service.events(session, at.project, erasure_id, cursor=cursor, limit=limit)


@router.delete(
    "/v1/erasures/{erasure_id}/tombstone",
    operation_id="lift_tombstone",
    summary="Allow feedback of an erased actor again",
    response_model=wire.Erasure,
    responses=problems(404, 409),
)
def lift_tombstone(session: Transaction, at: Admin, erasure_id: UUID) -> wire.Erasure:
    """Allows the actor's feedback to be stored again. Erased events stay erased: their ids stay taken."""
    return service.lift(session, at.project, erasure_id, at.by)
