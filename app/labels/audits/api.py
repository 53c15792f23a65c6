"""Audits of labels over HTTP."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query
from thumbwheel import wire

from app.labels.audits import service
from app.pages import Page
from app.projects.project_of_request import Scoped, scoped
from app.web.problems import problems
from app.web.session import Transaction, reads_whole_log

router = APIRouter(tags=["labels"])
Reader = Annotated[Scoped, Depends(scoped("runs:read"))]
Writer = Annotated[Scoped, Depends(scoped("runs:write"))]
Limit = Annotated[int, Query(ge=1, le=200)]


@router.post(
    "/v1/audits",
    operation_id="start_audit",
    summary="Draw a sample of labels to audit",
    status_code=201,
    response_model=wire.Audit,
    responses=problems(404, 409),
)
@reads_whole_log
def start_audit(new: wire.NewAudit, session: Transaction, at: Writer) -> wire.Audit:
    """Draws a sample stratified by label, checkpoint and kind of signal. The default is 200 rows of each class, or all
    if there are fewer."""
    return service.start(session, at.project, new, at.by)


@router.get(
    "/v1/audits",
    operation_id="list_audits",
    summary="List audits",
    response_model=Page[wire.Audit],
    responses=problems(404),
)
def list_audits(session: Transaction, at: Reader, cursor: str | None = None, limit: Limit = 50) -> Page[wire.Audit]:
    """Lists audits, the newest first, each with its results so far."""
    return service.page(session, at.project, cursor=cursor, limit=limit)


@router.get(
    "/v1/audits/{audit_id}",
    operation_id="get_audit",
    summary="Show the results of an audit",
    response_model=wire.Audit,
    responses=problems(404),
)
def get_audit(audit_id: UUID, session: Transaction, at: Reader) -> wire.Audit:
    """Returns the precision of the labels of each class, with an interval."""
    return service.get(session, at.project, audit_id)


@router.get(
    "/v1/audits/{audit_id}/items",
    operation_id="list_audit_items",
    summary="List the rows of an audit",
    response_model=Page[wire.AuditItem],
    responses=problems(404),
)
def list_audit_items(
    audit_id: UUID,
    session: Transaction,
    at: Reader,
    pending: Annotated[bool, Query(description="only rows without a verdict")] = False,
    cursor: str | None = None,
    limit: Limit = 50,
) -> Page[wire.AuditItem]:
    """Lists the rows in the order in which to judge them: the most suspicious first, then by number."""
    return service.items(session, at.project, audit_id, pending=pending, cursor=cursor, limit=limit)


@router.put(
    "/v1/audits/{audit_id}/items/{number}/verdict",
    operation_id="give_audit_verdict",
    summary="Say whether a label is right",
    response_model=wire.AuditItem,
    responses=problems(404),
)
def give_audit_verdict(
    audit_id: UUID,
    number: Annotated[int, Path(ge=1, lt=2**31)],
    new: wire.NewAuditVerdict,
    session: Transaction,
    at: Writer,
) -> wire.AuditItem:
    """The newest verdict counts; earlier ones stay in the history."""
    return service.give(session, at.project, audit_id, number, new, at.by)
