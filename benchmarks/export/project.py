"""A project with a long log, and an empty one that its export goes into."""

from thumbwheel import wire

from app.access import service as access
from app.database import transaction
from app.project_setup import service as project_setup
from benchmarks.labels.logs import fill
from benchmarks.lookups.project import register_ids, settle

PROJECT, COPY = "exported", "copy"


def prepare(database_url: str, events: int) -> str:
    """Fills a project's log, makes an empty project, and returns an admin key."""
    with transaction() as session:
        for project in (PROJECT, COPY):
            project_setup.create(session, wire.NewProject(project=project, base_model="/models/base", suites=[]))
        secret = access.create_key(session, wire.NewKey(name="admin", scopes=["admin"]), within=None).secret
    fill(database_url, PROJECT, events)
    register_ids(database_url)
    settle(database_url)
    return secret
