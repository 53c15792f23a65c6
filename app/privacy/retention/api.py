"""Retention over HTTP: the rule with its progress, the records of expired months, and a preview."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from thumbwheel import wire

from app.pages import Page
from app.privacy.retention import service
from app.privacy.retention.preview import preview
from app.projects import service as projects
from app.projects.project_of_request import Scoped, scoped
from app.web.problems import problems
from app.web.session import Transaction

router = APIRouter(tags=["privacy"])
Reader = Annotated[Scoped, Depends(scoped("feedback:read"))]


@router.get(
    "/v1/projects/{project}/retention",
    operation_id="get_retention",
    summary="Show the retention of a project",
    response_model=wire.Retention,
    responses=problems(404),
)
def get_retention(session: Transaction, at: Reader) -> wire.Retention:
    """Returns the rule, what it deleted so far, and the months that are under way. Change the rule with
    `PATCH /v1/projects/{project}`."""
    return service.get(session, at.project)


@router.get(
    "/v1/projects/{project}/retention/preview",
    operation_id="preview_retention",
    summary="Show what a rule would delete",
    response_model=wire.RetentionPreview,
    responses=problems(404),
)
def preview_retention(
    session: Transaction,
    at: Reader,
    months: Annotated[int | None, Query(ge=1, le=1200, description="unset: those of the project's rule")] = None,
    snapshots: Annotated[wire.SnapshotRetention | None, Query(description="unset: that of the project's rule")] = None,
) -> wire.RetentionPreview:
    """Returns the months, events, registered texts and snapshots that the rule would delete now, and what is held.
    Nothing is changed."""
    own = projects.get(session, at.project).retention
    rules = wire.RetentionRules(months=months or own.months, snapshots=snapshots or own.snapshots)
    return preview(session, at.project, rules)


@router.get(
    "/v1/projects/{project}/retention/months",
    operation_id="list_expired_months",
    summary="List expired months",
    response_model=Page[wire.ExpiredMonth],
    responses=problems(404),
)
def list_expired_months(
    session: Transaction, at: Reader, cursor: str | None = None, limit: Annotated[int, Query(ge=1, le=200)] = 50
) -> Page[wire.ExpiredMonth]:
    """Lists the records of deleted months, newest first."""
    return service.page(session, at.project, cursor=cursor, limit=limit)


@router.get(
    "/v1/projects/{project}/retention/months/{record_id}",
    operation_id="get_expired_month",
    summary="Show an expired month",
    response_model=wire.ExpiredMonth,
    responses=problems(404),
)
def get_expired_month(session: Transaction, at: Reader, record_id: UUID) -> wire.ExpiredMonth:
    """Returns the record of one month: what was deleted, when, by which rule, and what was left for which hold."""
    return service.month(session, at.project, record_id)
