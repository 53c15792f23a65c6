"""Copies of the log over HTTP: read page by page, and stored in another project."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from thumbwheel import wire

from app.feedback.copying import service
from app.feedback.ingest import bodies
from app.pages import MAX_INT8
from app.projects.project_of_request import Scoped, scoped
from app.web.problems import problems
from app.web.session import Transaction

router = APIRouter(tags=["feedback"])
LOG_PATH = "/v1/log"

Reader = Annotated[Scoped, Depends(scoped("feedback:read"))]
_LINES = "application/x-ndjson"
_TEXT = {"schema": {"type": "string", "description": "a row a line"}}


async def decoded_body(request: Request) -> bytes:
    """Returns the body of a request, decompressed."""
    return await bodies.whole(request.stream(), request.headers.get("content-encoding", "identity").strip().lower())


@router.get(
    LOG_PATH,
    operation_id="get_log_end",
    summary="Show where the log ends",
    response_model=wire.LogEnd,
    responses=problems(404),
)
def get_log_end(session: Transaction, at: Reader) -> wire.LogEnd:
    """Returns the watermark, up to which the log no longer grows: what is read up to it is one consistent state,
    even if events arrive meanwhile. An erasure still takes events out of it, and is counted."""
    return service.end(session, at.project)


@router.get(
    LOG_PATH + "/{kind}",
    operation_id="read_log",
    summary="Read events or completions in the order of the log",
    response_class=Response,
    responses={200: {"content": {_LINES: _TEXT}}, **problems(404)},
)
def read_log(
    request: Request,
    session: Transaction,
    at: Reader,
    kind: wire.LogKind,
    until: Annotated[
        int | None, Query(ge=0, le=MAX_INT8, description="the watermark; unset: the log's end now")
    ] = None,
    after: Annotated[int, Query(ge=0, le=MAX_INT8, description="the position of the last row that was read")] = 0,
) -> Response:
    """Returns the next rows as JSON lines, up to 5,000 or 8 MiB; none after the last one. A row is an event, or a
    registered completion, as it was stored: `occurred_at` is null if none was sent."""
    compress = "gzip" in request.headers.get("accept-encoding", "")
    page = service.page(session, at.project, kind, after=after, until=until, compress=compress)
    headers = {"Vary": "Accept-Encoding", **({"Content-Encoding": "gzip"} if compress else {})}
    return Response(page, media_type=_LINES, headers=headers)


@router.post(
    LOG_PATH,
    operation_id="copy_log",
    summary="Store rows of another log",
    response_model=wire.CopyReceipt,
    responses=problems(404, 409, 413, 415),
    openapi_extra={"requestBody": {"required": True, "content": {_LINES: _TEXT}}},
)
def copy_log(
    session: Transaction,
    at: Annotated[Scoped, Depends(scoped("admin"))],
    body: Annotated[bytes, Depends(decoded_body)],
) -> wire.CopyReceipt:
    """Stores rows as `GET /v1/log/events` and `GET /v1/log/completions` return them, merged by position, with their
    positions and times of receipt: all of them, or none. Each has to be behind all rows that the log has, or be there
    already. Takes up to 5,000 rows or 16 MiB, optionally compressed with gzip. It needs an admin key, as it says when
    feedback was received."""
    return service.copy_in(session, at.project, service.copied_rows(bodies.split(body, lines=True)))
