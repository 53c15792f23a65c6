"""Vote links over HTTP. The page that a link opens is in `app.dashboard.vote_page`."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends
from thumbwheel import wire

from app.feedback.vote_links import service
from app.projects.project_of_request import Scoped, scoped
from app.web.problems import problems
from app.web.session import Transaction

router = APIRouter(tags=["feedback"])
Writer = Annotated[Scoped, Depends(scoped("feedback:write"))]


@router.post(
    "/v1/vote-links",
    operation_id="create_vote_link",
    summary="Create a vote link",
    status_code=201,
    response_model=wire.VoteLink,
    responses=problems(404, 409),
)
def create_vote_link(new: wire.NewVoteLink, session: Transaction, at: Writer) -> wire.VoteLink:
    """Returns a URL by which one actor votes once on one completion, without a key, for mails and chats. Opening it
    shows a page and stores nothing; the vote is stored by the form on the page."""
    return service.create(session, at.project, new)


@router.delete(
    "/v1/vote-links/{link_id}",
    operation_id="revoke_vote_link",
    summary="Revoke a vote link",
    response_model=wire.RevokedVoteLink,
    responses=problems(404),
)
def revoke_vote_link(link_id: UUID, session: Transaction, at: Writer) -> wire.RevokedVoteLink:
    """Revokes the link from now on; a vote that was given stays. Doing it again changes nothing."""
    return service.revoke(session, at.project, link_id)


@router.post(
    "/v1/vote-links/rotate",
    operation_id="rotate_vote_link_secret",
    summary="Replace the secret of vote links",
    response_model=wire.VoteLinkSecret,
    responses=problems(404),
)
def rotate_vote_link_secret(
    rotation: wire.VoteLinkRotation, session: Transaction, at: Annotated[Scoped, Depends(scoped("admin"))]
) -> wire.VoteLinkSecret:
    """Signs new links with a new secret. Links that were signed before end with the overlap, at the latest."""
    return service.rotate(session, at.project, rotation)
