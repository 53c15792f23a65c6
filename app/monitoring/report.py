"""Reports what users think of each release, with what the rule of automatic rollback says."""

from sqlalchemy.orm import Session
from thumbwheel import wire

from app.monitoring.approval import service as approval
from app.monitoring.rollback import service as rollback


def release_approvals(session: Session, project: str) -> wire.ReleaseApprovals:
    """Returns both, as of the loop's last reading of the log. Raises `NotFound`."""
    found = approval.approvals(session, project)
    return found.model_copy(update={"rollback": rollback.state(session, project)})
