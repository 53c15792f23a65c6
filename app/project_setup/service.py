"""Creates projects with all of their rows in one transaction."""

from sqlalchemy.orm import Session
from thumbwheel import wire

from app.projects import service as projects
from app.releases import service as releases
from app.suites.versions import service as suites


def create(session: Session, new: wire.NewProject) -> wire.Project:
    """Creates the project with its base model as first checkpoint and release, and adopts suites of the server for it.

    Raises what `projects.create` raises, and `Invalid` for a suite that the server does not have.
    """
    project = projects.create(session, new)
    releases.begin(session, project.project)
    suites.begin(session, project.project, new.suites)
    return project
