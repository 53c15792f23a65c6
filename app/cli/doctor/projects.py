"""Checks of the projects: their base models can be loaded, no erasure has failed, no run waits for room on a disk."""

from pathlib import Path

from app.cli.doctor.finding import Finding
from app.settings import Settings

SHOWN = 5


def erasures(chosen: Settings) -> Finding:
    """Checks that no erasure of a person has failed: somebody waits for it, by law."""
    from app.database import transaction
    from app.privacy.erasures import service

    if chosen.database_url is None:
        return Finding("Erasures", "note", "not looked at: Postgres is not running")
    with transaction() as session:
        failed = service.failed(session)
    if not failed:
        return Finding("Erasures", "ok", "none has failed")
    first = failed[0]
    remedy = "mend the cause, then send the same request again: it goes on where it stopped"
    what = f"{len(failed)} failed; the oldest, {first.id} of project {first.project}: {first.trouble}; {remedy}"
    return Finding("Erasures", "wrong", what)


def held_up_runs(chosen: Settings) -> Finding:
    """Checks that no full disk holds up a run."""
    from app.database import transaction
    from app.runs.full_disk import service as full_disk

    if chosen.database_url is None:
        return Finding("Disks of runs", "note", "not looked at: Postgres is not running")
    with transaction() as session:
        found = full_disk.held_up(session)
        parts = [
            f"run {run.id} of project {run.project_id} waits since {run.held_up_since:%Y-%m-%d %H:%M} UTC, as "
            f"{run.held_up_by}"
            for run in found[:SHOWN]
        ]
    if not found:
        return Finding("Disks of runs", "ok", "no run waits for room")
    more = f" (and {len(found) - SHOWN} more)" if len(found) > SHOWN else ""
    return Finding("Disks of runs", "wrong", f"{'; '.join(parts)}{more}; then they go on by themselves")


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
