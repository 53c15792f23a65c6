"""Projects over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from thumbwheel import wire

from app.access.caller import Caller, may
from app.pages import Page
from app.projects import service
from app.projects.project_of_request import Scoped, scoped
from app.web.problems import problems
from app.web.session import Transaction

router = APIRouter(tags=["projects"])


@router.get(
    "/v1/projects",
    operation_id="list_projects",
    summary="List projects",
    response_model=Page[wire.Project],
    responses=problems(),
)
def list_projects(
    session: Transaction,
    caller: Annotated[Caller, Depends(may("runs:read"))],
    archived: Annotated[bool | None, Query(description="true: only archived projects; false: only open ones")] = None,
    cursor: str | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> Page[wire.Project]:
    """Returns the projects by name; a key of one project sees only that one."""
    return service.page(session, within=caller.project, archived=archived, cursor=cursor, limit=limit)


@router.get(
    "/v1/projects/{project}",
    operation_id="get_project",
    summary="Show a project",
    response_model=wire.Project,
    responses=problems(404),
)
def get_project(session: Transaction, at: Annotated[Scoped, Depends(scoped("runs:read"))]) -> wire.Project:
    """Returns the project's base model and configuration."""
    return service.get(session, at.project)


@router.get(
    "/v1/projects/{project}/redaction",
    operation_id="get_redaction",
    summary="Show what redaction has found",
    response_model=wire.RedactionReport,
    responses=problems(404),
)
def get_redaction(session: Transaction, at: Annotated[Scoped, Depends(scoped("runs:read"))]) -> wire.RedactionReport:
    """Returns the project's settings on redaction and actors, and the number of findings by kind, without any value.
    The newest findings may be missing until more feedback comes."""
    return service.redaction(session, at.project)
