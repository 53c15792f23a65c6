"""Runs over HTTP."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response
from thumbwheel import wire

from app.idempotency.dependency import Once
from app.projects.scoped import Scoped, scoped
from app.runs import commands, service
from app.runs.again import service as again
from app.schema import Page
from app.web.problems import problems
from app.web.session import Transaction, keeps_readings

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
def start_run(new: wire.NewRun, session: Transaction, at: Writer, asked: Once) -> wire.Run | Response:
    """It is queued, with the project's configuration and the shipped checkpoint as they are now.

    Where a run is active, it is refused with that one's id; with `queue` it waits for its turn, and is decided then.
    """
    trigger = f"asked for by {at.by}"
    return asked.once(session, at.project, new, lambda: service.request(session, at.project, new, at.by, trigger))


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
    return commands.cancel(session, at.project, run_id, at.by)


@router.post(
    "/v1/runs/{run_id}/pause",
    operation_id="pause_run",
    summary="Pause a run",
    status_code=202,
    response_model=wire.Run,
    responses=problems(404, 409),
)
def pause_run(run_id: UUID, session: Transaction, at: Writer) -> wire.Run:
    """No worker takes it until it is resumed; one that has it saves its state and gives it back within seconds.

    It keeps its state, and stays the project's active run.
    """
    return commands.pause(session, at.project, run_id, at.by)


@router.post(
    "/v1/runs/{run_id}/resume",
    operation_id="resume_run",
    summary="Resume a paused run",
    status_code=202,
    response_model=wire.Run,
    responses=problems(404, 409),
)
def resume_run(run_id: UUID, session: Transaction, at: Writer) -> wire.Run:
    """It goes on from its saved state."""
    return commands.resume(session, at.project, run_id, at.by)


@router.post(
    "/v1/runs/{run_id}/retry",
    operation_id="retry_run",
    summary="Retry a run that failed or was cancelled",
    status_code=202,
    response_model=wire.Run,
    responses=problems(404, 409),
)
def retry_run(
    run_id: UUID, session: Transaction, at: Writer, asked: Once, new: wire.RunAgain | None = None
) -> wire.Run | Response:
    """A new run with the same configuration, recipe, snapshot and reference. Where the working folder of the first one
    still lies on the worker's machine, it goes on from the state that was saved there.
    """
    how = new or wire.RunAgain()
    return asked.once(session, at.project, how, lambda: again.retry(session, at.project, run_id, how, at.by))


@router.post(
    "/v1/runs/{run_id}/reproduce",
    operation_id="reproduce_run",
    summary="Reproduce a run",
    status_code=202,
    response_model=wire.Run,
    responses=problems(404, 409),
)
def reproduce_run(
    run_id: UUID, session: Transaction, at: Writer, asked: Once, new: wire.RunAgain | None = None
) -> wire.Run | Response:
    """A new run, from the beginning, on the same snapshot by the recipe that was trained by. When it has succeeded,
    `reproduces` says whether its weights are the same; on the same kind of machine they should be.
    """
    how = new or wire.RunAgain()
    return asked.once(session, at.project, how, lambda: again.reproduce(session, at.project, run_id, how, at.by))


@router.get(
    "/v1/projects/{project}/readiness",
    operation_id="get_readiness",
    summary="Ask whether a run could start",
    response_model=wire.Readiness,
    responses=problems(404),
)
@keeps_readings
def get_readiness(session: Transaction, at: Reader) -> wire.Readiness:
    """Label counts, and each reason that stands in the way with its remedy."""
    return service.readiness(session, at.project)
