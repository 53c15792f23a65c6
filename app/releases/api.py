"""The ledger of releases over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response
from thumbwheel import wire
from thumbwheel.wire.values import Name

from app.idempotency.dependency import Once
from app.pages import Page
from app.projects.project_of_request import Scoped, scoped
from app.releases import service
from app.releases.current import CURRENT_PATH, PARAMETERS
from app.web.problems import problems
from app.web.session import Transaction

router = APIRouter(tags=["releases"])
Reader = Annotated[Scoped, Depends(scoped("runs:read"))]


@router.post(
    "/v1/releases",
    operation_id="ship",
    summary="Ship a checkpoint to all actors or to a share of them, or roll back",
    status_code=201,
    response_model=wire.Release,
    responses=problems(404, 409),
)
def ship(
    new: wire.NewRelease,
    session: Transaction,
    at: Annotated[Scoped, Depends(scoped("releases:write"))],
    keyed: Once,
) -> wire.Release | Response:
    """Makes the checkpoint live before it responds, or the canary of a share of the actors, which ends with the next
    release. A checkpoint whose gates did not pass needs `override_reason`."""
    return keyed.once(session, at.project, new, lambda: service.ship(session, at.project, new, at.by))


@router.put(
    "/v1/projects/{project}/base-model",
    operation_id="change_base_model",
    summary="Begin a new line of ancestry with another base model",
    response_model=wire.Release,
    responses=problems(404),
)
def change_base_model(
    new: wire.NewBaseModel, session: Transaction, at: Annotated[Scoped, Depends(scoped("admin"))]
) -> wire.Release:
    """Makes the base model live before the response is sent, and the next run's reference. Checkpoints of the earlier
    line stay, and may ship again after a change back to their base model."""
    return service.start_over(session, at.project, new, at.by)


@router.get(
    "/v1/releases",
    operation_id="list_releases",
    summary="List releases",
    response_model=Page[wire.Release],
    responses=problems(404),
)
def list_releases(
    session: Transaction, at: Reader, cursor: str | None = None, limit: Annotated[int, Query(ge=1, le=200)] = 50
) -> Page[wire.Release]:
    """Lists the releases, newest first."""
    return service.page(session, at.project, cursor=cursor, limit=limit)


@router.get(
    "/v1/releases/assignment",
    operation_id="get_assignment",
    summary="Show the release that an actor gets",
    response_model=wire.Assignment,
    responses=problems(404),
)
def get_assignment(session: Transaction, at: Reader, actor: Annotated[Name, Query()]) -> wire.Assignment:
    """Returns the live release, or the canary for actors in its share. An actor keeps its release until the ledger
    changes, and the canary while its share grows."""
    return service.assignment(session, at.project, actor)


@router.get(
    CURRENT_PATH,
    operation_id="get_current_release",
    summary="Show the live release",
    response_model=wire.CurrentRelease,
    responses={304: {"description": "The live release is still the one in `If-None-Match`"}, **problems(404)},
    openapi_extra={"parameters": PARAMETERS, "security": [{"key": []}]},
)
async def get_current_release() -> Response:
    """Returns the live release for the serving stack, which may poll often with its last `ETag` in `If-None-Match`."""
    raise NotImplementedError("this function only documents the operation: app.releases.current answers it")
