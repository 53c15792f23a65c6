"""The samples of a checkpoint over HTTP."""

from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from thumbwheel import wire

from app.checkpoints.samples import files, service
from app.pages import Page
from app.projects.project_of_request import Scoped, scoped
from app.web.problems import problems
from app.web.session import Transaction

router = APIRouter(tags=["checkpoints"])
Reader = Annotated[Scoped, Depends(scoped("runs:read"))]


@router.get(
    "/v1/checkpoints/{checkpoint_id}/samples",
    operation_id="list_samples",
    summary="List what a checkpoint writes",
    response_model=Page[wire.PromptSamples],
    responses=problems(404),
)
def list_samples(
    checkpoint_id: UUID,
    session: Transaction,
    at: Reader,
    source: files.Source | None = None,
    suite: Annotated[str | None, Query(max_length=200, description="the name of a suite")] = None,
    decoding: Literal["greedy", "sampled"] | None = None,
    cursor: str | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> Page[wire.PromptSamples]:
    """Lists what the checkpoint, the shipped one and the first base model wrote for the same prompts, side by side."""
    return service.page(
        session, at.project, checkpoint_id, source=source, suite=suite, decoding=decoding, cursor=cursor, limit=limit
    )
