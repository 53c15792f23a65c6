"""Approval of checkpoints over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Depends
from thumbwheel import wire

from app.labels.summaries import service
from app.projects.project_of_request import Scoped, scoped
from app.web.problems import problems
from app.web.session import Transaction

router = APIRouter(tags=["labels"])


@router.get(
    "/v1/approvals",
    operation_id="list_approvals",
    summary="Approval of each checkpoint",
    response_model=list[wire.Approval],
    responses=problems(404),
)
def list_approvals(session: Transaction, at: Annotated[Scoped, Depends(scoped("runs:read"))]) -> list[wire.Approval]:
    """Returns the share of desirable labels among the labelled completions of each checkpoint, without the votes of
    actors in quarantine; the oldest checkpoint first, at most 1,000. A large log counts as the loop last read it. The
    answer is 503 until the loop has read it with the current policy and decisions.
    """
    return service.figures(session, at.project).approvals()
