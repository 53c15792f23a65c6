"""Creates projects with all of their rows in one transaction."""

from sqlalchemy.orm import Session
from thumbwheel import wire

from app.projects import service as projects
from app.releases import service as releases


def create(session: Session, new: wire.NewProject) -> wire.Project:
    """Creates the project with its base model as first checkpoint and release. Raises what `projects.create` raises."""
    project = projects.create(session, new)
    releases.begin(session, project.project)
    return project
