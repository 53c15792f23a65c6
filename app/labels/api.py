"""Labels over HTTP: what users think of each checkpoint."""

from typing import Annotated

from fastapi import APIRouter, Depends
from thumbwheel import wire

from app.labels import service
from app.projects.scoped import Scoped, scoped
from app.web import Transaction, problems, reads_whole_log

router = APIRouter(tags=["labels"])


@router.get(
    "/v1/approvals",
    operation_id="list_approvals",
    summary="Approval of each checkpoint",
    response_model=list[wire.Approval],
    responses=problems(404),
)
@reads_whole_log
def list_approvals(session: Transaction, at: Annotated[Scoped, Depends(scoped("runs:read"))]) -> list[wire.Approval]:
    """The share of desirable among the labelled completions of each checkpoint, the oldest checkpoint first."""
    return service.approval(session, at.project)
