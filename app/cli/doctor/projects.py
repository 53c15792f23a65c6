"""Check of the projects: each base model lies where it is said to lie, and can be loaded."""

from pathlib import Path

from app.cli.doctor.finding import Finding
from app.settings import Settings

SHOWN = 5


def base_models(chosen: Settings) -> Finding:
    """Checks the base model of every project that is not archived, as this machine sees it."""
    from app.database import transaction
    from app.projects import service as projects
    from app.projects.base_model import reasons_unusable

    if chosen.database_url is None:
        return Finding("Base models", "note", "not looked at: Postgres is not running")
    with transaction() as session:
        named = projects.base_models(session)
    faults = {project: reasons for project, folder in named.items() if (reasons := reasons_unusable(Path(folder)))}
    if not faults:
        return Finding("Base models", "ok", f"{len(named)} projects, every folder can be loaded")
    parts = [f"{project}: {reasons[0]}" for project, reasons in list(faults.items())[:SHOWN]]
    more = f" (and {len(faults) - SHOWN} more)" if len(faults) > SHOWN else ""
    return Finding("Base models", "wrong" if chosen.base_models == "here" else "note", f"{' '.join(parts)}{more}")
