"""Snapshots over HTTP."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from fastapi.responses import PlainTextResponse, StreamingResponse
from thumbwheel import wire

from app.downloads import download
from app.pages import Page
from app.projects.project_of_request import Scoped, scoped
from app.snapshots.reading import service
from app.web.problems import problems
from app.web.session import Transaction

router = APIRouter(tags=["snapshots"])
#: Requires the right to read feedback, since a snapshot contains its texts.
Reader = Annotated[Scoped, Depends(scoped("feedback:read"))]


class Markdown(PlainTextResponse):
    media_type = "text/markdown"


@router.get(
    "/v1/snapshots",
    operation_id="list_snapshots",
    summary="List snapshots",
    response_model=Page[wire.Snapshot],
    responses=problems(404),
)
def list_snapshots(
    session: Transaction, at: Reader, cursor: str | None = None, limit: Annotated[int, Query(ge=1, le=200)] = 50
) -> Page[wire.Snapshot]:
    """Lists the snapshots, newest first, including redacted ones with their successors."""
    return service.page(session, at.project, cursor=cursor, limit=limit)


@router.get(
    "/v1/snapshots/{snapshot_id}",
    operation_id="get_snapshot",
    summary="Show a snapshot",
    response_model=wire.SnapshotDetail,
    responses=problems(404),
)
def get_snapshot(snapshot_id: UUID, session: Transaction, at: Reader) -> wire.SnapshotDetail:
    """Returns the snapshot with its manifest and the hash of every file."""
    return service.get(session, at.project, snapshot_id)


@router.get(
    "/v1/snapshots/{snapshot_id}/card",
    operation_id="get_snapshot_card",
    summary="Read a snapshot's card",
    response_class=Markdown,
    responses={200: {"content": {"text/markdown": {"schema": {"type": "string"}}}}, **problems(404)},
)
def get_snapshot_card(snapshot_id: UUID, session: Transaction, at: Reader) -> Markdown:
    """Returns the card, which describes the contents in sentences and tables, as Markdown."""
    return Markdown(service.card(session, at.project, snapshot_id))


@router.get(
    "/v1/snapshots/{snapshot_id}/files/{path:path}",
    operation_id="get_snapshot_file",
    summary="Download a file of a snapshot",
    response_class=StreamingResponse,
    responses={
        200: {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}},
        **problems(404, 410),
    },
)
def get_snapshot_file(snapshot_id: UUID, path: str, session: Transaction, at: Reader) -> StreamingResponse:
    """Returns the bytes of the file; `ETag` and `Repr-Digest` are its SHA-256. 410 if rows of the snapshot were
    erased; the problem names the successor.
    """
    return download(service.open_file(session, at.project, snapshot_id, path))
