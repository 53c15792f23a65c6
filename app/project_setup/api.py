"""The creation and change of projects over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Depends
from thumbwheel import wire

from app.access.caller import Caller, may
from app.errors import Forbidden
from app.project_setup import service
from app.projects.project_of_request import Scoped, scoped
from app.web.problems import problems
from app.web.session import Transaction

router = APIRouter(tags=["projects"])


def admin_of_all(caller: Annotated[Caller, Depends(may("admin"))]) -> Caller:
    """Returns the caller if its key is valid for all projects. Raises `Forbidden`."""
    if caller.project is not None:
        raise Forbidden(
            f"Your key is limited to project {caller.project}. Use an admin key for all projects to create one.",
            code="other_project",
        )
    return caller


@router.post(
    "/v1/projects",
    operation_id="create_project",
    summary="Create a project",
    status_code=201,
    response_model=wire.Project,
    responses=problems(409),
)
def create_project(
    new: wire.NewProject, session: Transaction, caller: Annotated[Caller, Depends(admin_of_all)]
) -> wire.Project:
    """Creates a project for one product whose model is to be improved. Recipe and base model are checked at once. If
    only workers can read the folder (`THUMBWHEEL_BASE_MODELS=on_workers`), the first run checks the base model."""
    return service.create(session, new, caller.by)


@router.patch(
    "/v1/projects/{project}",
    operation_id="change_project",
    summary="Change a project",
    response_model=wire.Project,
    responses=problems(404),
)
def change_project(
    change: wire.ProjectChange, session: Transaction, at: Annotated[Scoped, Depends(scoped("admin"))]
) -> wire.Project:
    """Merges the given fields of `trigger`, `snapshot`, `monitoring` and `limits` with the stored ones; null unsets a
    field (RFC 7396). Replaces `recipe` as a whole. Requested runs keep the configuration that they began with. `gates`
    are stored as a version unless they are one, and adopted. `archived` closes the project to feedback and new runs, or
    opens it again; nothing is deleted. Another base model begins a new line of ancestry:
    `PUT /v1/projects/{project}/base-model`."""
    return service.change(session, at.project, change, at.by)
