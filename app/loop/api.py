"""The decisions of the loop over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from thumbwheel import wire

from app.loop import service
from app.pages import Page
from app.projects.project_of_request import Scoped, scoped
from app.web.problems import problems
from app.web.session import Transaction

router = APIRouter(tags=["runs"])


@router.get(
    "/v1/trigger-decisions",
    operation_id="list_trigger_decisions",
    summary="List trigger decisions",
    response_model=Page[wire.TriggerDecision],
    responses=problems(404),
)
def list_trigger_decisions(
    session: Transaction,
    at: Annotated[Scoped, Depends(scoped("runs:read"))],
    cursor: str | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> Page[wire.TriggerDecision]:
    """Lists the decisions to start a run automatically, or not yet, with reasons. A repeated decision only moves
    `last_seen_at`."""
    return service.decisions(session, at.project, cursor=cursor, limit=limit)
