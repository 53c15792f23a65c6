"""Checkpoints over HTTP."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from fastapi.responses import PlainTextResponse, StreamingResponse
from thumbwheel import wire

from app.checkpoints import service
from app.downloads import download
from app.pages import Page
from app.projects.project_of_request import Scoped, scoped
from app.web.problems import problems
from app.web.session import Transaction

router = APIRouter(tags=["checkpoints"])
Reader = Annotated[Scoped, Depends(scoped("runs:read"))]


@router.get(
    "/v1/checkpoints",
    operation_id="list_checkpoints",
    summary="List checkpoints",
    response_model=Page[wire.Checkpoint],
    responses=problems(404),
)
def list_checkpoints(
    session: Transaction, at: Reader, cursor: str | None = None, limit: Annotated[int, Query(ge=1, le=200)] = 50
) -> Page[wire.Checkpoint]:
    """Lists the checkpoints, newest first, including those that did not pass their gates."""
    return service.page(session, at.project, cursor=cursor, limit=limit)


@router.get(
    "/v1/checkpoints/{checkpoint_id}",
    operation_id="get_checkpoint",
    summary="Show a checkpoint",
    response_model=wire.Checkpoint,
    responses=problems(404),
)
def get_checkpoint(checkpoint_id: UUID, session: Transaction, at: Reader) -> wire.Checkpoint:
    """Returns the checkpoint with its verdict, its scores, and the hash of every file."""
    return service.get(session, at.project, checkpoint_id)


@router.get(
    "/v1/checkpoints/{checkpoint_id}/card",
    operation_id="get_checkpoint_card",
    summary="Show the card of a checkpoint",
    response_class=PlainTextResponse,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **problems(404)},
)
def get_checkpoint_card(checkpoint_id: UUID, session: Transaction, at: Reader) -> str:
    """Returns the card as Markdown: the file README.md, followed by every override of the gates in the ledger."""
    return service.card(session, at.project, checkpoint_id)


@router.get(
    "/v1/checkpoints/{checkpoint_id}/files/{path:path}",
    operation_id="get_checkpoint_file",
    summary="Download a file of a checkpoint",
    response_class=StreamingResponse,
    responses={
        200: {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}},
        **problems(404),
    },
)
def get_checkpoint_file(checkpoint_id: UUID, path: str, session: Transaction, at: Reader) -> StreamingResponse:
    """Returns the bytes of the file; `ETag` and `Repr-Digest` are its SHA-256."""
    return download(service.open_file(session, at.project, checkpoint_id, path))
