"""The time to learn over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Depends
from thumbwheel import wire

from app.monitoring import service
from app.projects.project_of_request import Scoped, scoped
from app.web.problems import problems
from app.web.session import Transaction

router = APIRouter(tags=["releases"])


@router.get(
    "/v1/time-to-learn",
    operation_id="get_time_to_learn",
    summary="Show how long feedback takes to become live",
    response_model=wire.TimeToLearn,
    responses=problems(404),
)
def get_time_to_learn(session: Transaction, at: Annotated[Scoped, Depends(scoped("runs:read"))]) -> wire.TimeToLearn:
    """Returns the ages that events had when a checkpoint that learnt from them shipped, release by release, and how
    well the project's objective is kept."""
    return service.time_to_learn(session, at.project)
