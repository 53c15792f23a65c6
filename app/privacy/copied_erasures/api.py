"""Copies of erasures over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Depends
from thumbwheel import wire

from app.privacy.copied_erasures import service
from app.projects.project_of_request import Scoped, scoped
from app.web.problems import problems
from app.web.session import Transaction

router = APIRouter(tags=["privacy"])


@router.post(
    "/v1/erasures",
    operation_id="copy_erasures",
    summary="Copy erasures of another project",
    response_model=wire.ErasureCopyReceipt,
    responses=problems(404),
)
def copy_erasures(
    copied: wire.CopiedErasures, session: Transaction, at: Annotated[Scoped, Depends(scoped("admin"))]
) -> wire.ErasureCopyReceipt:
    """Refuses feedback of actors who were erased from another project, whose log is copied into this one. Erases
    nothing: feedback of theirs that is here stays. An actor of whom this project has an erasure, also a lifted one, is
    left out."""
    return service.copy_in(session, at.project, copied.erasures)
