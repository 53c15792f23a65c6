"""Serving targets over HTTP: what each should serve, and what it was seen to serve."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Response
from thumbwheel import wire

from app.idempotency.dependency import Once
from app.pages import Page
from app.projects.project_of_request import Scoped, scoped
from app.serving import service
from app.serving.key_variables import require_own_variable
from app.web.problems import problems
from app.web.session import Transaction

router = APIRouter(tags=["serving"])
Reader = Annotated[Scoped, Depends(scoped("runs:read"))]
Shipper = Annotated[Scoped, Depends(scoped("releases:write"))]
Admin = Annotated[Scoped, Depends(scoped("admin"))]
TargetName = Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]


@router.get(
    "/v1/serving",
    operation_id="get_serving",
    summary="Show what is served",
    response_model=wire.Serving,
    responses=problems(404),
)
def get_serving(session: Transaction, at: Reader) -> wire.Serving:
    """Returns the live checkpoint and the canary beside what each target was seen to serve, with the probes and their
    age."""
    return service.overview(session, at.project)


@router.post(
    "/v1/serving/targets",
    operation_id="create_serving_target",
    summary="Add a serving target",
    status_code=201,
    response_model=wire.ServingTarget,
    responses=problems(404, 409),
)
def create_serving_target(
    new: wire.NewServingTarget, session: Transaction, at: Admin, keyed: Once
) -> wire.ServingTarget | Response:
    """Adds a server or a folder, which a worker brings to the live checkpoint and the canary. `notices` say what it
    would refuse of the project's recipe, and that a canary would not fit."""
    if at.limited:
        require_own_variable(new.settings, at.project)
    return keyed.once(session, at.project, new, lambda: service.create(session, at.project, new, at.by))


@router.get(
    "/v1/serving/targets",
    operation_id="list_serving_targets",
    summary="List serving targets",
    response_model=Page[wire.ServingTarget],
    responses=problems(404),
)
def list_serving_targets(
    session: Transaction, at: Reader, cursor: str | None = None, limit: Annotated[int, Query(ge=1, le=200)] = 50
) -> Page[wire.ServingTarget]:
    """Lists the targets by their names."""
    return service.page(session, at.project, cursor=cursor, limit=limit)


@router.get(
    "/v1/serving/targets/{name}",
    operation_id="get_serving_target",
    summary="Show a serving target",
    response_model=wire.ServingTarget,
    responses=problems(404),
)
def get_serving_target(name: TargetName, session: Transaction, at: Reader) -> wire.ServingTarget:
    """Returns a target with what it should serve and what it was seen to serve."""
    return service.get(session, at.project, name)


@router.patch(
    "/v1/serving/targets/{name}",
    operation_id="change_serving_target",
    summary="Change a serving target",
    response_model=wire.ServingTarget,
    responses=problems(404),
)
def change_serving_target(
    name: TargetName, change: wire.ServingTargetChange, session: Transaction, at: Admin
) -> wire.ServingTarget:
    """Replaces the settings, or turns the target on or off. With other settings, what was seen is forgotten."""
    if at.limited:
        require_own_variable(change.settings, at.project)
    return service.change(session, at.project, name, change)


@router.delete(
    "/v1/serving/targets/{name}",
    operation_id="delete_serving_target",
    summary="Remove a serving target",
    status_code=204,
    response_class=Response,
    responses=problems(404),
)
def delete_serving_target(name: TargetName, session: Transaction, at: Admin) -> None:
    """Forgets the target. What its server has loaded stays there."""
    service.delete(session, at.project, name)


@router.post(
    "/v1/serving/targets/{name}/sync",
    operation_id="sync_serving_target",
    summary="Look at a serving target now",
    status_code=202,
    response_model=wire.ServingTarget,
    responses=problems(404, 409),
)
def sync_serving_target(name: TargetName, session: Transaction, at: Shipper) -> wire.ServingTarget:
    """Asks the workers to look at the target at once instead of after its pause."""
    return service.sync_now(session, at.project, name)
