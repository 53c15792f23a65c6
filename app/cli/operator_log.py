"""`thumbwheel operator-log`: who did what with which key, and when."""

from itertools import islice
from typing import Annotated

import typer

from app.cli.connection import AsJson, Project, connected
from app.cli.listing import show_all, when


def operator_log(
    operation: Annotated[str | None, typer.Option(help="List only this operation, such as ship.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="The number of actions, newest first.")] = 50,
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """List who did what with which key, newest first. Needs the scope admin."""
    columns = {
        "time": lambda item: when(item.at),
        "operation": lambda item: item.operation,
        "project": lambda item: item.project or "–",
        "by": lambda item: item.by,
        "about": lambda item: ", ".join(f"{name} {_shown(value)}" for name, value in item.about.items()) or "–",
        "request": lambda item: item.request_id or "–",
    }
    with connected(project) as client:
        show_all(islice(client.operator_log.list(project, operation), limit), columns, as_json=as_json)


def _shown(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
