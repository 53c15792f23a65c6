"""The ledger over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response
from thumbwheel import wire

from app.idempotency.dependency import Once
from app.projects.scoped import Scoped, scoped
from app.releases import service
from app.releases.current import CURRENT_PATH, PARAMETERS
from app.schema import Page
from app.web.problems import problems
from app.web.session import Transaction

router = APIRouter(tags=["releases"])
Reader = Annotated[Scoped, Depends(scoped("runs:read"))]


@router.post(
    "/v1/releases",
    operation_id="ship",
    summary="Ship a checkpoint, or roll back",
    status_code=201,
    response_model=wire.Release,
    responses=problems(404, 409),
)
def ship(
    new: wire.NewRelease,
    session: Transaction,
    at: Annotated[Scoped, Depends(scoped("releases:write"))],
    asked: Once,
) -> wire.Release | Response:
    """It is live with the answer. A checkpoint whose gates failed needs `override_reason`."""
    return asked.once(session, at.project, new, lambda: service.ship(session, at.project, new, at.by))


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
    """The base model is live with the answer, and the next run's reference. Checkpoints of the earlier line stay, and
    may ship again once their base model is the project's again."""
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
    """The ledger, newest first."""
    return service.page(session, at.project, cursor=cursor, limit=limit)


@router.get(
    CURRENT_PATH,
    operation_id="get_current_release",
    summary="Show what is live",
    response_model=wire.CurrentRelease,
    responses={304: {"description": "What is live is still what `If-None-Match` names"}, **problems(404)},
    openapi_extra={"parameters": PARAMETERS, "security": [{"key": []}]},
)
async def get_current_release() -> Response:
    """For the serving stack: ask as often as you like with the last `ETag` in `If-None-Match`."""
    raise NotImplementedError("this function only documents the operation: app.releases.current answers it")
