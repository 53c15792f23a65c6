"""Labels over HTTP: what users think of each checkpoint."""

from typing import Annotated

from fastapi import APIRouter, Depends
from thumbwheel import wire

from app.labels.summaries import service
from app.projects.scoped import Scoped, scoped
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
    """The share of desirable among the labelled completions of each checkpoint, without the votes of actors in
    quarantine; the oldest checkpoint first, at most 1,000. Of a large log as the loop read it last; 503 until it has
    read it by the policy and the decisions that count now.
    """
    return service.figures(session, at.project).approvals()
