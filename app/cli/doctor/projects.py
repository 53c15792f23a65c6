"""Checks of the projects: unusable base models, failed erasures, disabled webhooks, runs that wait for disk space."""

from pathlib import Path

from app.cli.doctor.finding import Finding
from app.settings import Settings

SHOWN = 5


def erasures(config: Settings) -> Finding:
    """Checks that no erasure has failed: the law may require it."""
    from app.database import transaction
    from app.privacy.erasures import service

    if config.database_url is None:
        return Finding("Erasures", "note", "not checked: Postgres is not running")
    with transaction() as session:
        failed = service.failed(session)
    if not failed:
        return Finding("Erasures", "ok", "none has failed")
    first = failed[0]
    remedy = "fix the cause, then send the same request again: it continues where it stopped"
    message = f"{len(failed)} failed; the oldest, {first.id} of project {first.project}: {first.trouble}; {remedy}"
    return Finding("Erasures", "wrong", message)


def webhook_endpoints(config: Settings) -> Finding:
    """Lists the webhook endpoints that are disabled, as those of receivers that were away for a day."""
    from app.database import transaction
    from app.webhooks.endpoints import service

    if config.database_url is None:
        return Finding("Webhooks", "note", "not checked: Postgres is not running")
    with transaction() as session:
        parts = [
            f"{endpoint.id} of project {endpoint.project}: {endpoint.disabled_reason}"
            for endpoint in service.disabled(session, SHOWN)
        ]
    if not parts:
        return Finding("Webhooks", "ok", "no endpoint is disabled")
    remedy = "`thumbwheel webhooks enable` resumes one, `webhooks replay` sends what it missed"
    return Finding("Webhooks", "note", f"disabled endpoints: {'; '.join(parts)}; {remedy}")


def held_up_runs(config: Settings) -> Finding:
    """Checks that no run waits because a disk is full."""
    from app.database import transaction
    from app.runs.full_disk import service as full_disk

    if config.database_url is None:
        return Finding("Disks of runs", "note", "not checked: Postgres is not running")
    with transaction() as session:
        waiting = full_disk.held_up(session)
        parts = [
            f"run {run.id} of project {run.project_id} waits since {run.held_up_since:%Y-%m-%d %H:%M} UTC, as "
            f"{run.held_up_by}"
            for run in waiting[:SHOWN]
        ]
    if not waiting:
        return Finding("Disks of runs", "ok", "no run waits for disk space")
    more = f" (and {len(waiting) - SHOWN} more)" if len(waiting) > SHOWN else ""
    return Finding("Disks of runs", "wrong", f"{'; '.join(parts)}{more}; then they continue automatically")


def base_models(config: Settings) -> Finding:
    """Checks the base model of every project that is not archived, as this machine sees it."""
    from app.database import transaction
    from app.projects import service as projects
    from app.projects.base_model import reasons_unusable

    if config.database_url is None:
        return Finding("Base models", "note", "not checked: Postgres is not running")
    with transaction() as session:
        folders = projects.base_models(session)
    faults = {project: reasons for project, folder in folders.items() if (reasons := reasons_unusable(Path(folder)))}
    if not faults:
        return Finding("Base models", "ok", f"{len(folders)} projects, all can be loaded")
    parts = [f"{project}: {reasons[0]}" for project, reasons in list(faults.items())[:SHOWN]]
    more = f" (and {len(faults) - SHOWN} more)" if len(faults) > SHOWN else ""
    return Finding("Base models", "wrong" if config.base_models == "here" else "note", f"{' '.join(parts)}{more}")
