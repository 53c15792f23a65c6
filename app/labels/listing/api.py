"""The labels of a project over HTTP."""

import gzip
from collections.abc import Iterator
from tempfile import TemporaryFile
from typing import Annotated, BinaryIO

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import StreamingResponse
from starlette.background import BackgroundTask

from app.labels.listing import service
from app.pages import MAX_INT8
from app.projects.project_of_request import Scoped, scoped
from app.web.problems import problems
from app.web.session import Transaction, reads_whole_log

router = APIRouter(tags=["labels"])
CHUNK = 256 * 1024


@router.get(
    "/v1/labels",
    operation_id="list_labels",
    summary="List the labels of all completions",
    response_class=StreamingResponse,
    responses={
        200: {"content": {"application/x-ndjson": {"schema": {"type": "string", "description": "a label a line"}}}},
        **problems(404),
    },
)
@reads_whole_log
def list_labels(
    request: Request,
    session: Transaction,
    at: Annotated[Scoped, Depends(scoped("feedback:read"))],
    watermark: Annotated[int | None, Query(ge=0, le=MAX_INT8, description="only feedback up to this position")] = None,
) -> StreamingResponse:
    """Returns JSON lines: completion_id, checkpoint_id, label (true: desirable; null: nothing), weight, reason,
    reasons, never_train, has_text (whether the text is known). Labels follow from the log, the adopted policy and the
    decisions on actors in quarantine. It reads the whole log: few such requests run at a time;
    more are answered with 503.
    """
    file = TemporaryFile()  # noqa: SIM115 - it is sent after this function, by then without a database connection
    try:
        service.write(session, at.project, watermark, file)
    except BaseException:
        file.close()
        raise
    file.seek(0)
    compressed = "gzip" in request.headers.get("accept-encoding", "")
    headers = {"Vary": "Accept-Encoding", **({"Content-Encoding": "gzip"} if compressed else {})}
    return StreamingResponse(
        _chunks(file, compressed=compressed),
        media_type="application/x-ndjson",
        headers=headers,
        background=BackgroundTask(file.close),
    )


def _chunks(file: BinaryIO, *, compressed: bool) -> Iterator[bytes]:
    if compressed:
        while chunk := file.read(CHUNK):
            yield chunk
        return
    with gzip.GzipFile(fileobj=file) as lines:
        while chunk := lines.read(CHUNK):
            yield chunk
