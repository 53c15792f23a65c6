"""Creates projects with all of their rows in one transaction, and changes them with their gates."""

from sqlalchemy.orm import Session
from thumbwheel import wire

from app.access.operator_log import service as operator_log
from app.feedback import service as feedback
from app.gates import documents
from app.gates import service as gates
from app.projects import service as projects
from app.releases import service as releases
from app.suites.versions import service as suites


def create(session: Session, new: wire.NewProject, by: str = "thumbwheel") -> wire.Project:
    """Creates the project with its first gates, its suites, and its base model as first checkpoint and release.

    Raises what `projects.create` raises, and `Invalid` with every fault of the gates or for a suite that the server
    does not have.
    """
    adopted = documents.adopted(gates.require_valid(new.gates), 1)
    project = projects.create(session, new, adopted)
    operator_log.note(session, project.project, redaction=project.redaction.mode, actors=project.actors)
    gates.begin(session, project.project, adopted, by)
    releases.begin(session, project.project)
    suites.begin(session, project.project, new.suites)
    return project


def change(session: Session, project: str, change: wire.ProjectChange, by: str) -> wire.Project:
    """Changes the project, and adopts the given gates. Raises what `projects.change` raises, and `Invalid` with every
    fault of the gates. After the commit, no feedback is stored by earlier settings on redaction and actors.
    """
    noted: dict[str, str] = {} if change.redaction is None else {"redaction": change.redaction.mode}
    if change.actors is not None:
        noted["actors"] = change.actors
    sections = sorted(change.model_dump(exclude_none=True))
    operator_log.note(session, changed=sections, archived=change.archived, **noted)
    if change.gates is not None:
        gates.adopt_document(session, project, change.gates, by)
    changed = projects.change(session, project, change)
    if noted:
        feedback.wait_for_writers(session, project)
    return changed
