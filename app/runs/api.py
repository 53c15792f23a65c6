"""Runs over HTTP."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response
from thumbwheel import wire

from app.idempotency.dependency import Once
from app.pages import Page
from app.projects.project_of_request import Scoped, scoped
from app.runs import commands, service
from app.runs.again import service as again
from app.web.problems import problems
from app.web.session import Transaction

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
def start_run(new: wire.NewRun, session: Transaction, at: Writer, keyed: Once) -> wire.Run | Response:
    """Queues a run with the current configuration of the project and its shipped checkpoint.

    While another run is active, the request is refused with the id of that run. With `queue`, the new run waits for its
    turn, and takes the configuration and the checkpoint of that moment.
    """
    trigger = f"requested by {at.by}"
    return keyed.once(session, at.project, new, lambda: service.request(session, at.project, new, at.by, trigger))


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
    """Returns the runs of the project, newest first."""
    return service.page(session, at.project, cursor=cursor, limit=limit)


@router.get(
    "/v1/runs/{run_id}", operation_id="get_run", summary="Show a run", response_model=wire.Run, responses=problems(404)
)
def get_run(run_id: UUID, session: Transaction, at: Reader) -> wire.Run:
    """Returns the state, progress, recipe and history of a run."""
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
    """Returns loss, rewards, z0 and other figures per optimizer step, thinned evenly to about `limit` steps."""
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
    """Cancels a run: a queued run at once, a run that a worker holds within seconds."""
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
    """Keeps workers from the run until it is resumed. A worker that holds it saves its progress and gives it back
    within seconds.

    The run keeps its state and stays the active run of the project.
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
    """Lets a paused run continue from its saved progress."""
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
    run_id: UUID, session: Transaction, at: Writer, keyed: Once, new: wire.RunAgain | None = None
) -> wire.Run | Response:
    """Starts a new run with the same configuration, recipe, snapshot and reference. If the working folder of the first
    run is still on the machine of the worker, the new run continues from the state that was saved there.
    """
    how = new or wire.RunAgain()
    return keyed.once(session, at.project, how, lambda: again.retry(session, at.project, run_id, how, at.by))


@router.post(
    "/v1/runs/{run_id}/reproduce",
    operation_id="reproduce_run",
    summary="Reproduce a run",
    status_code=202,
    response_model=wire.Run,
    responses=problems(404, 409),
)
def reproduce_run(
    run_id: UUID, session: Transaction, at: Writer, keyed: Once, new: wire.RunAgain | None = None
) -> wire.Run | Response:
    """Starts a new run from the beginning, on the same snapshot and with the recipe that the first run used. After it
    has succeeded, `reproduces` is true if its weights are the same, as they should be on the same kind of machine.
    """
    how = new or wire.RunAgain()
    return keyed.once(session, at.project, how, lambda: again.reproduce(session, at.project, run_id, how, at.by))


@router.get(
    "/v1/projects/{project}/readiness",
    operation_id="get_readiness",
    summary="Check whether a run could start",
    response_model=wire.Readiness,
    responses=problems(404),
)
def get_readiness(session: Transaction, at: Reader) -> wire.Readiness:
    """Returns the label counts, and each reason why no run can start, with its remedy."""
    return service.readiness(session, at.project)
