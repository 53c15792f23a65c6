"""SQL of runs that wait for room on a disk."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.runs.tables import Run


def held_up(session: Session) -> Sequence[Run]:
    """Returns the runs that a full disk holds up, the longest wait first."""
    return session.scalars(select(Run).where(Run.held_up_since.is_not(None)).order_by(Run.held_up_since)).all()
