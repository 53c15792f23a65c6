"""The events of a run over HTTP, as a stream."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.responses import StreamingResponse

from app.projects.project_of_request import Scoped, scoped
from app.runs.stream import service
from app.runs.stream.event_id import Place
from app.web.problems import problems
from app.web.session import Transaction

router = APIRouter(tags=["runs"])


class EventStream(StreamingResponse):
    """A response of server-sent events. FastAPI's own class requires a generator, which could not answer 204."""

    media_type = "text/event-stream"


#: These headers prevent caches, compressing proxies and nginx from holding events back.
HEADERS = {"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"}

EXAMPLE = """\
retry: 2000

event: metrics
data: {"id":"4711-0","event":"metrics","step":41,"values":{"step":41,"loss":0.497,"z0":0.02}}
id: 4711-0

event: progress
data: {"id":"4711-0","event":"progress","state":"training","paused":false,"waiting":false,"phase_done":41,
data: "phase_total":156,"eta_seconds":38.2,"tokens_per_second":5120.0}
id: 4711-0

"""
ANSWERS: dict[int | str, dict[str, Any]] = {
    **problems(404),
    204: {"description": "The last event received was the end of the run: there is nothing to follow"},
    200: {
        "description": "Server-sent events, until the run ends. The data of each is a JSON object, by its `event` a "
        "RunTransitionEvent, RunMetricsEvent, RunProgressEvent, RunWarningEvent or RunEndEvent.",
        "content": {"text/event-stream": {"schema": {"type": "string"}, "example": EXAMPLE}},
    },
}


def beginning(
    run_id: UUID,
    session: Transaction,
    at: Annotated[Scoped, Depends(scoped("runs:read"))],
    from_header: Annotated[
        str | None, Header(alias="Last-Event-ID", description="the `id` of the last event received")
    ] = None,
    last_event_id: Annotated[
        str | None,
        Query(description="the same for clients that cannot set the header, which wins if both are given"),
    ] = None,
    history: Annotated[
        bool, Query(description="false: without a last event, begin with the current state of the run")
    ] = True,
) -> Place | None:
    return service.begin(session, at.project, run_id, from_header or last_event_id, history=history)


@router.get(
    "/v1/runs/{run_id}/events",
    operation_id="follow_run",
    summary="Follow a run",
    response_class=EventStream,
    responses=ANSWERS,
)
async def follow_run(run_id: UUID, request: Request, begins: Annotated[Place | None, Depends(beginning)]) -> Response:
    """Streams the past and future events of a run: its history, the figures of each step, progress, warnings and, last,
    its end. After an interruption, a request with `Last-Event-ID` continues the stream."""
    if begins is None:
        return Response(status_code=204)
    return EventStream(request.app.state.streams.follow(run_id, begins), headers=HEADERS)
