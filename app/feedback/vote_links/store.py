"""SQL of the secrets of vote links, and of revoked links."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.database import now
from app.feedback.vote_links.tables import RevokedVoteLink, VoteLinkSecret


def current(session: Session, project: str) -> VoteLinkSecret | None:
    """Returns the secret that signs new links."""
    query = select(VoteLinkSecret).where(VoteLinkSecret.project_id == project, VoteLinkSecret.valid_until.is_(None))
    return session.scalars(query.order_by(VoteLinkSecret.number.desc()).limit(1)).one_or_none()


def numbered(session: Session, project: str, number: int, at: datetime) -> VoteLinkSecret | None:
    """Returns the secret with this number if it is valid."""
    query = select(VoteLinkSecret).where(
        VoteLinkSecret.project_id == project,
        VoteLinkSecret.number == number,
        or_(VoteLinkSecret.valid_until.is_(None), VoteLinkSecret.valid_until > at),
    )
    return session.scalars(query).one_or_none()


def insert_secret(session: Session, project: str, number: int, secret: bytes) -> None:
    """Inserts the secret, unless another transaction has inserted one with this number."""
    values = {"project_id": project, "number": number, "secret": secret, "created_at": now()}
    session.execute(insert(VoteLinkSecret).values(**values).on_conflict_do_nothing())


def end_secrets(session: Session, project: str, at: datetime) -> None:
    """Makes every secret of the project end at `at`, unless it ends before."""
    secrets = update(VoteLinkSecret).where(VoteLinkSecret.project_id == project)
    earlier = or_(VoteLinkSecret.valid_until.is_(None), VoteLinkSecret.valid_until > at)
    session.execute(secrets.where(earlier).values(valid_until=at))


def insert_revocation(session: Session, project: str, link_id: UUID) -> RevokedVoteLink:
    """Revokes the link, once, and returns its row."""
    values = {"project_id": project, "link_id": link_id, "revoked_at": now()}
    session.execute(insert(RevokedVoteLink).values(**values).on_conflict_do_nothing())
    row = revocation(session, project, link_id)
    assert row is not None
    return row


def revocation(session: Session, project: str, link_id: UUID) -> RevokedVoteLink | None:
    return session.get(RevokedVoteLink, (project, link_id))
