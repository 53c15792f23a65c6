"""Receipts over HTTP, which show the use of one event."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path
from thumbwheel import wire

from app.privacy.receipts import service
from app.projects.project_of_request import Scoped, scoped
from app.web.problems import problems
from app.web.session import Transaction

router = APIRouter(tags=["privacy"])
Reader = Annotated[Scoped, Depends(scoped("feedback:read"))]


@router.get(
    "/v1/feedback/{event_id:path}/receipt",
    operation_id="get_receipt",
    summary="Show the use of an event",
    response_model=wire.Receipt,
    responses=problems(404),
)
def get_receipt(
    session: Transaction,
    at: Annotated[Scoped, Depends(scoped("feedback:read"))],
    event_id: Annotated[wire.Name, Path()],
) -> wire.Receipt:
    """Returns the current label of the event's completion with its reasons, the snapshots that have the completion, and
    their runs and checkpoints with the periods in which these were live. Other actors' feedback is not included."""
    return service.receipt(session, at.project, event_id)
