"""Imports over HTTP: files are uploaded, and their imports followed, cancelled and deleted."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import StreamingResponse
from thumbwheel import wire

from app.feedback.import_jobs import service
from app.feedback.import_jobs.receiving import UploadReceiver, UploadRequest
from app.pages import Page
from app.projects.project_of_request import Scoped, scoped
from app.web.problems import problems
from app.web.session import Transaction

router = APIRouter(tags=["imports"])
IMPORTS_PATH = "/v1/imports"

Reader = Annotated[Scoped, Depends(scoped("feedback:read"))]
Writer = Annotated[Scoped, Depends(scoped("feedback:write", logged=True))]

_UPLOAD: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    },
    "parameters": [
        {
            "name": "project",
            "in": "query",
            "required": False,
            "description": "the project; optional if the key opens only one",
            "schema": {"type": "string"},
        }
    ],
    "security": [{"key": []}],
}
_LINES = {"schema": {"type": "string", "description": "a rejected record a line: file, line (item, row) and reason"}}


@router.post(
    IMPORTS_PATH,
    operation_id="create_import",
    summary="Upload a file of feedback",
    status_code=202,
    response_model=wire.Import,
    responses={
        200: {"model": wire.Import, "description": "The same file with the same options is this import already"},
        **problems(404, 409, 413),
    },
    openapi_extra=_UPLOAD,
)
async def create_import(
    request: Request,
    name: Annotated[str, Query(min_length=1, description="the name of the file, for messages")] = "upload",
    shape: Annotated[
        str | None, Query(alias="as", description="the shape of the records; unset: by their content")
    ] = None,
    columns: Annotated[
        str | None, Query(alias="map", description="columns, such as prompt=question,label=thumb")
    ] = None,
    desirable: Annotated[str | None, Query(description="values that are a thumbs up, such as yes,👍,5")] = None,
    undesirable: Annotated[str | None, Query(description="values that are a thumbs down; unset: all others")] = None,
    scale: Annotated[str | None, Query(description="the scale of ratings, MIN:MAX; unset: 1:5")] = None,
    dry_run: Annotated[
        bool, Query(description="store nothing; show ten rows, and what would be stored and lost")
    ] = False,
    restart: Annotated[bool, Query(description="import the file again, even if it was imported")] = False,
) -> Response:
    """Takes a file as the body, of any kind that `thumbwheel import` reads: JSON lines, JSON, CSV, TSV, parquet, gzip,
    zip. A worker imports it in the background; `Location` has the import's URL. The key needs the scopes
    `feedback:write` and `feedback:read`. The file is deleted when the import ends."""
    receiver: UploadReceiver = request.app.state.uploads
    options = wire.ImportOptions(as_=shape, map=columns, desirable=desirable, undesirable=undesirable, scale=scale)
    return await receiver.receive(request, UploadRequest(name, options, dry_run, restart))


@router.get(
    IMPORTS_PATH,
    operation_id="list_imports",
    summary="List imports",
    response_model=Page[wire.Import],
    responses=problems(404),
)
def list_imports(
    session: Transaction,
    at: Reader,
    cursor: str | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> Page[wire.Import]:
    """The newest first, without the outcome of each file."""
    return service.page(session, at.project, cursor=cursor, limit=limit)


@router.get(
    IMPORTS_PATH + "/{import_id}",
    operation_id="get_import",
    summary="Show an import",
    response_model=wire.Import,
    responses=problems(404),
)
def get_import(session: Transaction, at: Reader, import_id: UUID) -> wire.Import:
    """Returns state, progress and counts, and the outcome of each file with its reasons."""
    return service.get(session, at.project, import_id)


@router.get(
    IMPORTS_PATH + "/{import_id}/rejects",
    operation_id="list_import_rejects",
    summary="List rejected records",
    response_class=Response,
    responses={200: {"content": {"application/x-ndjson": _LINES}}, **problems(404)},
)
def list_import_rejects(session: Transaction, at: Reader, import_id: UUID) -> Response:
    """Returns the rejected records as JSON lines: their numbers and the reasons, without their content."""
    service.get(session, at.project, import_id)
    return StreamingResponse(service.reject_lines(import_id), media_type="application/x-ndjson")


@router.post(
    IMPORTS_PATH + "/{import_id}/cancel",
    operation_id="cancel_import",
    summary="Cancel an import",
    response_model=wire.Import,
    responses=problems(404, 409),
)
def cancel_import(session: Transaction, at: Writer, import_id: UUID) -> wire.Import:
    """Ends the import. What is stored stays; a batch that is under way may be stored, too."""
    return service.cancel(session, at.project, import_id, at.by)


@router.delete(
    IMPORTS_PATH + "/{import_id}",
    operation_id="delete_import",
    summary="Delete the report of an import",
    status_code=204,
    responses=problems(404, 409),
)
def delete_import(session: Transaction, at: Writer, import_id: UUID) -> None:
    """Deletes an import that has ended, with its rejected records. The feedback stays."""
    service.remove(session, at.project, import_id)
