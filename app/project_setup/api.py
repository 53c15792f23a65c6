"""The set-up of projects over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Depends
from thumbwheel import wire

from app.access.caller import Caller, may
from app.errors import Forbidden
from app.project_setup import service
from app.web.problems import problems
from app.web.session import Transaction

router = APIRouter(tags=["projects"])


def admin_of_all(caller: Annotated[Caller, Depends(may("admin"))]) -> Caller:
    """Returns the caller, whose key opens every project. Raises `Forbidden`."""
    if caller.project is not None:
        raise Forbidden(
            f"Your key opens project {caller.project} alone: new projects need an admin key without a project.",
            code="other_project",
        )
    return caller


@router.post(
    "/v1/projects",
    operation_id="create_project",
    summary="Make a project",
    status_code=201,
    response_model=wire.Project,
    responses=problems(409),
    dependencies=[Depends(admin_of_all)],
)
def create_project(new: wire.NewProject, session: Transaction) -> wire.Project:
    """One product whose model is improved. Recipe and base model are checked at once; where only workers see the folder
    (`THUMBWHEEL_BASE_MODELS=on_workers`), the first run looks into it."""
    return service.create(session, new)
