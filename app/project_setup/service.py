"""Creates projects with all of their rows in one transaction, and changes them with their gates."""

from sqlalchemy.orm import Session
from thumbwheel import wire

from app.access.operator_log import service as operator_log
from app.errors import Conflict
from app.feedback import service as feedback
from app.gates import documents
from app.gates import service as gates
from app.projects import service as projects
from app.releases import service as releases
from app.snapshots import service as snapshots
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
    """Changes the project, and adopts the given gates. After the commit, no feedback is stored by earlier settings on
    redaction and actors. Raises what `projects.change` raises, `Invalid` with every fault of the gates, and `Conflict`
    for another split key than that of the project's snapshots.
    """
    noted: dict[str, str] = {} if change.redaction is None else {"redaction": change.redaction.mode}
    if change.actors is not None:
        noted["actors"] = change.actors
    sections = sorted(change.model_dump(exclude_none=True))
    operator_log.note(session, changed=sections, archived=change.archived, **noted)
    if change.split_key is not None:
        _require_split_open(session, project, change.split_key)
    if change.gates is not None:
        gates.adopt_document(session, project, change.gates, by)
    changed = projects.change(session, project, change)
    if noted:
        feedback.wait_for_writers(session, project)
    return changed


def _require_split_open(session: Session, project: str, split_key: str) -> None:
    if split_key == projects.lock(session, project).split_key or not snapshots.exist(session, project):
        return
    raise Conflict(
        f"Project {project} has snapshots: another split key would move rows that a model was trained on into the "
        "holdout. Set it in a new project.",
        code="split_fixed",
    )
