"""Comparisons and sweeps over HTTP."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response
from thumbwheel import wire

from app.idempotency.dependency import Once
from app.pages import Page
from app.projects.project_of_request import Scoped, scoped
from app.runs.comparisons import service
from app.web.problems import problems
from app.web.session import Transaction

router = APIRouter(tags=["comparisons"])
Reader = Annotated[Scoped, Depends(scoped("runs:read"))]
Writer = Annotated[Scoped, Depends(scoped("runs:write"))]


@router.post(
    "/v1/comparisons",
    operation_id="start_comparison",
    summary="Compare arms",
    status_code=202,
    response_model=wire.ComparisonJob,
    responses=problems(404, 409),
)
def start_comparison(
    new: wire.NewComparison, session: Transaction, at: Writer, keyed: Once
) -> wire.ComparisonJob | Response:
    """Trains each arm with the same snapshot, reference, seeds and budget, one run after another, and recommends an arm
    by the held-out evidence.

    The runs are ordinary ones: they can be watched, paused and cancelled. None of them is shipped.
    """
    return keyed.once(session, at.project, new, lambda: service.request(session, at.project, new, at.by))


@router.post(
    "/v1/sweeps",
    operation_id="start_sweep",
    summary="Search a space of recipe fields",
    status_code=202,
    response_model=wire.ComparisonJob,
    responses=problems(404, 409),
)
def start_sweep(new: wire.NewSweep, session: Transaction, at: Writer, keyed: Once) -> wire.ComparisonJob | Response:
    """Trains the points of a grid, random points, or points that are halved rung by rung, each as an arm of a
    comparison."""
    return keyed.once(session, at.project, new, lambda: service.request(session, at.project, new, at.by))


@router.get(
    "/v1/comparisons",
    operation_id="list_comparisons",
    summary="List comparisons and sweeps",
    response_model=Page[wire.ComparisonJob],
    responses=problems(404),
)
def list_comparisons(
    session: Transaction, at: Reader, cursor: str | None = None, limit: Annotated[int, Query(ge=1, le=50)] = 20
) -> Page[wire.ComparisonJob]:
    """Returns the comparisons and sweeps of the project, newest first."""
    return service.page(session, at.project, cursor=cursor, limit=limit)


@router.get(
    "/v1/comparisons/{comparison_id}",
    operation_id="get_comparison",
    summary="Show a comparison or sweep",
    response_model=wire.ComparisonJob,
    responses=problems(404),
)
def get_comparison(comparison_id: UUID, session: Transaction, at: Reader) -> wire.ComparisonJob:
    """Returns the arms with their runs and figures so far, and the recommendation."""
    return service.get(session, at.project, comparison_id)


@router.post(
    "/v1/comparisons/{comparison_id}/cancel",
    operation_id="cancel_comparison",
    summary="Cancel a comparison or sweep",
    status_code=202,
    response_model=wire.ComparisonJob,
    responses=problems(404, 409),
)
def cancel_comparison(comparison_id: UUID, session: Transaction, at: Writer) -> wire.ComparisonJob:
    """Cancels the runs that have not ended, and requests no further ones. Figures so far are kept."""
    return service.cancel(session, at.project, comparison_id, at.by)
