"""The operator log over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from thumbwheel import wire

from app.access.caller import Caller, may
from app.access.operator_log import service
from app.pages import Page
from app.web.problems import problems
from app.web.session import Transaction

router = APIRouter(tags=["keys"])


@router.get(
    "/v1/audit-log",
    operation_id="list_operator_actions",
    summary="List the actions of operators",
    response_model=Page[wire.OperatorAction],
    responses=problems(),
)
def list_operator_actions(
    session: Transaction,
    caller: Annotated[Caller, Depends(may("admin"))],
    project: Annotated[str | None, Query(description="only actions on this project", max_length=63)] = None,
    operation: Annotated[str | None, Query(description="only this operationId", max_length=64)] = None,
    cursor: str | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> Page[wire.OperatorAction]:
    """Lists every operation that changed something and its key, newest first. Feedback is not listed: the log of
    feedback has it. A key of one project sees that project alone."""
    return service.page(
        session, within=caller.project, project=project, operation=operation, cursor=cursor, limit=limit
    )
