"""`thumbwheel doctor`: checks this machine, its settings and the running processes.

machine ─▶ settings ─▶ servers ─▶ folders ─▶ processes (API, workers, beat, queue) ─▶ projects
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Annotated

import typer

from app import settings
from app.cli.doctor import folders, judge, machine, processes, projects, servers, serving, setting_names
from app.cli.doctor.finding import STYLE, Finding
from app.cli.embedded import use_running_servers
from app.errors import ThumbwheelError
from app.settings import Settings

CHECKS: dict[str, Callable[[Settings], Finding]] = {
    "Setting names": setting_names.unknown,
    "Postgres": servers.database,
    "Redis": servers.broker,
    "Data folder": folders.data_folder,
    "Working folders": folders.working_folders,
    "Artifacts": folders.artifact_store,
    "API": processes.api,
    "API key": processes.api_key,
    "Workers": processes.workers,
    "Last tick": processes.last_tick,
    "Messages": processes.messages,
    "Base models": projects.base_models,
    "Erasures": projects.erasures,
    "Webhooks": projects.webhook_endpoints,
    "Disks of runs": projects.held_up_runs,
    "Serving targets": serving.targets,
    "Judge": judge.answers,
    "Training": machine.torch,
}


def examine() -> list[Finding]:
    """Returns all findings, in the order in which to fix them."""
    findings = [machine.python_version()]
    try:
        config = settings.current()
    except ThumbwheelError as error:
        return [*findings, Finding("Settings", "wrong", error.message)]
    findings.append(Finding("Settings", "ok", "readable"))
    try:
        use_running_servers()
        config = settings.current()
    except ThumbwheelError as error:
        findings.append(Finding("Embedded servers", "wrong", error.message))
    for name, check in CHECKS.items():
        findings.append(_checked(name, check, config))
    return findings


def _checked(name: str, check: Callable[[Settings], Finding], config: Settings) -> Finding:
    from sqlalchemy.exc import SQLAlchemyError  # imported late, to keep `thumbwheel --help` quick

    try:
        return check(config)
    except ThumbwheelError as error:
        return Finding(name, "wrong", error.message)
    except SQLAlchemyError as error:
        # The tables are older than this code, which the check of Postgres reports.
        return Finding(name, "note", f"not checked: the tables are not this version's ({type(error).__name__})")


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")] = False,
) -> None:
    """Check this machine, its settings and the running processes. Exit code 1 if something is wrong.

    If THUMBWHEEL_DATABASE_URL is not set, it checks the embedded servers of a running `thumbwheel up`.
    """
    findings = examine()
    if as_json:
        typer.echo(json.dumps({"findings": [asdict(finding) for finding in findings]}, indent=2))
    else:
        _print(findings)
    if any(finding.state == "wrong" for finding in findings):
        raise typer.Exit(1)


def _print(findings: Sequence[Finding]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("", "check", "finding", box=None)
    for finding in findings:
        table.add_row(Text(finding.state, STYLE[finding.state]), finding.check, Text(finding.said))
    Console(highlight=False).print(table)
