"""The set-up of a project: all rows that a new project has, written in one transaction."""

from sqlalchemy.orm import Session
from thumbwheel import wire

from app.projects import service as projects
from app.releases import service as releases


def create(session: Session, new: wire.NewProject) -> wire.Project:
    """Creates the project with its base model as first checkpoint and first release. Raises as `projects.create`."""
    project = projects.create(session, new)
    releases.begin(session, project.project)
    return project
