"""Receipts over HTTP: what became of one event."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path
from thumbwheel import wire

from app.privacy.receipts import service
from app.projects.scoped import Scoped, scoped
from app.web.problems import problems
from app.web.session import Transaction

router = APIRouter(tags=["privacy"])
Reader = Annotated[Scoped, Depends(scoped("feedback:read"))]


@router.get(
    "/v1/feedback/{event_id:path}/receipt",
    operation_id="get_receipt",
    summary="What became of an event",
    response_model=wire.Receipt,
    responses=problems(404),
)
def get_receipt(
    session: Transaction,
    at: Annotated[Scoped, Depends(scoped("feedback:read"))],
    event_id: Annotated[wire.Name, Path()],
) -> wire.Receipt:
    """The label that its completion has now, and why; the snapshots that hold it; runs and checkpoints on these, and
    since when they are live. Nothing of what others said is in it."""
    return service.receipt(session, at.project, event_id)
