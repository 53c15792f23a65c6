"""The outcomes of a checkpoint's suites over HTTP."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from thumbwheel import wire

from app.checkpoints.outcomes import service
from app.pages import Page
from app.projects.project_of_request import Scoped, scoped
from app.web.problems import problems
from app.web.session import Transaction

router = APIRouter(tags=["checkpoints"])
Reader = Annotated[Scoped, Depends(scoped("runs:read"))]


@router.get(
    "/v1/checkpoints/{checkpoint_id}/suites/{name:path}",
    operation_id="list_suite_outcomes",
    summary="List the outcomes of a suite",
    response_model=Page[wire.SuiteOutcome],
    responses=problems(404),
)
def list_suite_outcomes(
    checkpoint_id: UUID,
    name: wire.Name,
    session: Transaction,
    at: Reader,
    cursor: str | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> Page[wire.SuiteOutcome]:
    """Lists what the checkpoint, the shipped one and the base model wrote for each test, with verdict and reason."""
    return service.page(session, at.project, checkpoint_id, name, cursor=cursor, limit=limit)
