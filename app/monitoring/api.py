"""The time to learn, and the approval of each release, over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Depends
from thumbwheel import wire

from app.monitoring import report, service
from app.projects.project_of_request import Scoped, scoped
from app.web.problems import problems
from app.web.session import Transaction

router = APIRouter(tags=["releases"])
Reader = Annotated[Scoped, Depends(scoped("runs:read"))]


@router.get(
    "/v1/time-to-learn",
    operation_id="get_time_to_learn",
    summary="Show how long feedback takes to become live",
    response_model=wire.TimeToLearn,
    responses=problems(404),
)
def get_time_to_learn(session: Transaction, at: Reader) -> wire.TimeToLearn:
    """Returns the ages that events had when a checkpoint that learnt from them shipped, release by release, and how
    well the project's objective is kept."""
    return service.time_to_learn(session, at.project)


@router.get(
    "/v1/releases/approval",
    operation_id="get_release_approval",
    summary="Show what users think of each release",
    response_model=wire.ReleaseApprovals,
    responses=problems(404),
)
def get_release_approval(session: Transaction, at: Reader) -> wire.ReleaseApprovals:
    """Returns the approval of the newest 20 releases, by segment and weighted by their outputs; the comparison of the
    canary and of the live release, whose intervals may be read at any time; and what the rule of automatic rollback
    says. All of it is as of the loop's last reading of the log."""
    return report.release_approvals(session, at.project)
