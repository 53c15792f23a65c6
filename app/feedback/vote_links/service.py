"""Creates, checks and revokes vote links, and rotates the secrets that sign them."""

import secrets
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy.orm import Session
from thumbwheel import wire

from app import settings
from app.access.operator_log import service as operator_log
from app.database import new_id, now
from app.errors import Gone, NotFound
from app.feedback.vote_links import store, tokens
from app.feedback.vote_links.tables import VoteLinkSecret
from app.feedback.vote_links.tokens import VoteToken
from app.pages import MAX_INT4
from app.projects import service as projects

SECRET_BYTES = 32


def create(session: Session, project: str, new: wire.NewVoteLink) -> wire.VoteLink:
    """Creates a link, which has no row. Raises `Conflict` for an archived project."""
    projects.require_open(session, project)
    secret = _current(session, project)
    link_id = new_id()
    expires_at = (now() + timedelta(hours=new.valid_hours)).replace(microsecond=0)
    token = VoteToken(
        project, secret.number, str(link_id), int(expires_at.timestamp()), new.completion_id, new.actor
    )  # fmt: skip
    base = (settings.current().public_url or settings.current().url).rstrip("/")
    return wire.VoteLink(
        id=link_id,
        url=f"{base}/vote/{tokens.signed(token, secret.secret)}",
        completion_id=new.completion_id,
        actor=new.actor,
        event_id=token.event_id,
        expires_at=expires_at,
    )


def require_valid(session: Session, text: str) -> VoteToken:
    """Returns what a link is for.

    Raises `NotFound` for a token that is not ours, `Gone` for an expired or revoked link, and `Conflict` if the project
    is archived.
    """
    token = tokens.read(text)
    secret = None
    if token is not None and projects.POSSIBLE_ID.fullmatch(token.project) and 0 < token.secret <= MAX_INT4:
        secret = store.numbered(session, token.project, token.secret, now())
    if token is None or secret is None or not tokens.is_genuine(text, secret.secret):
        raise NotFound("This link is not valid, or no longer: it may be incomplete.", code="vote_link_unknown")
    if datetime.fromtimestamp(token.expires, UTC) <= now():
        raise Gone("This link has expired.", code="vote_link_expired")
    if store.revocation(session, token.project, UUID(token.link_id)) is not None:
        raise Gone("This link is no longer valid.", code="vote_link_revoked")
    projects.require_open(session, token.project)
    return token


def event_of(token: VoteToken, thumb: wire.Thumbs) -> wire.Event:
    """Returns the event of a vote by this link. A second vote has the same id, so that the log takes only the first."""
    return wire.Event(event_id=token.event_id, completion_id=token.completion_id, actor=token.actor, signal=thumb)


def revoke(session: Session, project: str, link_id: UUID) -> wire.RevokedVoteLink:
    """Revokes a link; a second call changes nothing. A vote that was given stays. Any id is taken, as links have no
    rows.
    """
    row = store.insert_revocation(session, project, link_id)
    return wire.RevokedVoteLink(id=row.link_id, revoked_at=row.revoked_at)


def rotate(session: Session, project: str, rotation: wire.VoteLinkRotation) -> wire.VoteLinkSecret:
    """Replaces the secret that signs the project's links. Links by earlier ones are valid until the overlap ends."""
    projects.lock(session, project)
    before = _current(session, project)
    store.end_secrets(session, project, now() + timedelta(hours=rotation.overlap_hours))
    store.insert_secret(session, project, before.number + 1, secrets.token_bytes(SECRET_BYTES))
    secret = _current(session, project)
    operator_log.note(session, number=secret.number)
    return _shown(secret)


def _current(session: Session, project: str) -> VoteLinkSecret:
    """Returns the secret that signs new links, and creates the first one of a project."""
    secret = store.current(session, project)
    if secret is None:
        store.insert_secret(session, project, 1, secrets.token_bytes(SECRET_BYTES))
        secret = store.current(session, project)
    assert secret is not None
    return secret


def _shown(secret: VoteLinkSecret) -> wire.VoteLinkSecret:
    return wire.VoteLinkSecret(number=secret.number, created_at=secret.created_at)
