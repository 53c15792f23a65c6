"""Quarantine over HTTP: actors whose votes wait for a decision, and the decisions."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from thumbwheel import wire

from app.labels.quarantine import listing, service
from app.pages import Page
from app.projects.project_of_request import Scoped, scoped
from app.web.problems import problems
from app.web.session import Transaction

router = APIRouter(tags=["labels"])
Reader = Annotated[Scoped, Depends(scoped("feedback:read"))]
Admin = Annotated[Scoped, Depends(scoped("admin"))]
Limit = Annotated[int, Query(ge=1, le=200)]


@router.get(
    "/v1/quarantine",
    operation_id="list_quarantine",
    summary="List actors in quarantine",
    response_model=Page[wire.QuarantinedActor],
    responses=problems(404),
)
def list_quarantine(
    session: Transaction,
    at: Reader,
    state: Annotated[wire.QuarantineState | None, Query(description="only actors in this state")] = None,
    cursor: str | None = None,
    limit: Limit = 50,
) -> Page[wire.QuarantinedActor]:
    """Lists the actors with a finding by the adopted policy's rules or with a decision, by id, with examples. A large
    log counts as the loop last read it. The answer is 503 until the loop has read it with the adopted policy.
    """
    return listing.page(session, at.project, state=state, cursor=cursor, limit=limit)


@router.get(
    "/v1/quarantine/actor",
    operation_id="get_quarantined_actor",
    summary="Show an actor in quarantine",
    response_model=wire.QuarantinedActor,
    responses=problems(404),
)
def get_quarantined_actor(
    session: Transaction, at: Reader, actor: Annotated[wire.Name, Query()]
) -> wire.QuarantinedActor:
    """Returns the findings on one actor, and the decision that counts. 404 means that the votes count."""
    return listing.get(session, at.project, actor)


@router.get(
    "/v1/quarantine/decisions",
    operation_id="list_quarantine_decisions",
    summary="List decisions on actors",
    response_model=Page[wire.QuarantineDecision],
    responses=problems(404),
)
def list_quarantine_decisions(
    session: Transaction,
    at: Reader,
    actor: Annotated[wire.Name | None, Query(description="only decisions on this actor")] = None,
    cursor: str | None = None,
    limit: Limit = 50,
) -> Page[wire.QuarantineDecision]:
    """Lists all decisions, the newest first."""
    return service.page(session, at.project, actor=actor, cursor=cursor, limit=limit)


@router.post(
    "/v1/quarantine/decisions",
    operation_id="decide_on_actor",
    summary="Release or confirm an actor",
    status_code=201,
    response_model=wire.QuarantineDecision,
    responses=problems(404),
)
def decide_on_actor(new: wire.NewQuarantineDecision, session: Transaction, at: Admin) -> wire.QuarantineDecision:
    """Decides on an actor. The votes of a released actor count regardless of the rules; those of a confirmed actor do
    not. A later decision replaces an earlier one. Existing snapshots stay as they are."""
    return service.decide(session, at.project, new, at.by)
