"""Runs over HTTP."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from thumbwheel import wire

from app.projects.scoped import Scoped, scoped
from app.runs import service
from app.schema import Page
from app.web import Transaction, problems

router = APIRouter(tags=["runs"])
Reader = Annotated[Scoped, Depends(scoped("runs:read"))]
Writer = Annotated[Scoped, Depends(scoped("runs:write"))]


@router.post(
    "/v1/runs",
    operation_id="start_run",
    summary="Start a run",
    status_code=202,
    response_model=wire.Run,
    responses=problems(404, 409),
)
def start_run(new: wire.NewRun, session: Transaction, at: Writer) -> wire.Run:
    """It is queued, with the project's configuration and the shipped checkpoint as they are now."""
    return service.request(session, at.project, new, at.by, f"asked for by {at.by}")


@router.get(
    "/v1/runs",
    operation_id="list_runs",
    summary="List runs",
    response_model=Page[wire.Run],
    responses=problems(404),
)
def list_runs(
    session: Transaction, at: Reader, cursor: str | None = None, limit: Annotated[int, Query(ge=1, le=200)] = 50
) -> Page[wire.Run]:
    """Newest first."""
    return service.page(session, at.project, cursor=cursor, limit=limit)


@router.get(
    "/v1/runs/{run_id}", operation_id="get_run", summary="Show a run", response_model=wire.Run, responses=problems(404)
)
def get_run(run_id: UUID, session: Transaction, at: Reader) -> wire.Run:
    """Its state, progress, recipe and history."""
    return service.get(session, at.project, run_id)


@router.get(
    "/v1/runs/{run_id}/metrics",
    operation_id="get_run_metrics",
    summary="Show a run's time series",
    response_model=wire.Metrics,
    responses=problems(404),
)
def get_run_metrics(
    run_id: UUID, session: Transaction, at: Reader, limit: Annotated[int, Query(ge=2, le=10_000)] = 1000
) -> wire.Metrics:
    """Loss, rewards, z0 and more by optimizer step, thinned evenly to about `limit` steps."""
    return service.metrics(session, at.project, run_id, limit=limit)


@router.post(
    "/v1/runs/{run_id}/cancel",
    operation_id="cancel_run",
    summary="Cancel a run",
    status_code=202,
    response_model=wire.Run,
    responses=problems(404, 409),
)
def cancel_run(run_id: UUID, session: Transaction, at: Writer) -> wire.Run:
    """A queued run is cancelled with the answer, a working one within seconds."""
    return service.cancel(session, at.project, run_id, at.by)


@router.get(
    "/v1/projects/{project}/readiness",
    operation_id="get_readiness",
    summary="Ask whether a run could start",
    response_model=wire.Readiness,
    responses=problems(404),
)
def get_readiness(session: Transaction, at: Reader) -> wire.Readiness:
    """Label counts, and each reason that stands in the way with its remedy."""
    return service.readiness(session, at.project)
