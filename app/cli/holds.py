"""`thumbwheel holds …`: places, lists and releases legal holds."""

from datetime import UTC, datetime
from typing import Annotated

import typer
from thumbwheel import wire

from app.cli.connection import AsJson, Project, connected, find_id, short_id
from app.cli.listing import show_all, show_one, when
from app.errors import Invalid

holds = typer.Typer(help="Legal holds: feedback that nothing deletes.", no_args_is_help=True, rich_markup_mode=None)

Which = Annotated[str, typer.Argument(help="Its id, or its last characters.")]


@holds.command()
def add(
    reason: Annotated[str, typer.Option(help="The reason, such as the number of the case; name no person.")],
    actor: Annotated[str | None, typer.Option(help="Hold the feedback of this actor.")] = None,
    completion: Annotated[str | None, typer.Option(help="Hold the feedback on this completion.")] = None,
    whole_project: Annotated[bool, typer.Option("--whole-project", help="Hold everything of the project.")] = False,
    until: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"], help="When it ends by itself, in UTC.")
    ] = None,
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Hold feedback: from now on, nothing deletes it until the hold is released or ends."""
    if [actor is not None, completion is not None, whole_project].count(True) != 1:
        raise Invalid("Give one of --actor, --completion and --whole-project.", code="invalid_option")
    end = None if until is None else until.replace(tzinfo=UTC)
    new = wire.NewHold(actor=actor, completion_id=completion, reason=reason, until=end)
    with connected(project) as client:
        _show(client.holds.place(new), as_json)


@holds.command("list")
def list_holds(project: Project = None, as_json: AsJson = False) -> None:
    """List all holds, newest first, with their releases."""
    columns = {
        "id": lambda item: short_id(item.id),
        "on": _subject,
        "in force": lambda item: "yes" if item.in_force else "no",
        "until": lambda item: when(item.until),
        "placed": lambda item: when(item.placed_at),
        "by": lambda item: item.placed_by,
        "reason": lambda item: item.reason,
        "released": lambda item: when(item.released_at),
    }
    with connected(project) as client:
        show_all(client.holds.list(), columns, as_json=as_json)


@holds.command()
def show(hold: Which, project: Project = None, as_json: AsJson = False) -> None:
    """Show a hold with its release."""
    with connected(project) as client:
        _show(client.holds.get(find_id(hold, client.holds.list(), "hold")), as_json)


@holds.command()
def release(
    hold: Which,
    reason: Annotated[str, typer.Option(help="The reason.")],
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Release a hold: erasures and months that waited for it go on."""
    with connected(project) as client:
        _show(client.holds.release(find_id(hold, client.holds.list(), "hold"), reason), as_json)


def _subject(item: wire.LegalHold) -> str:
    if item.kind == "project":
        return "the project"
    return f"{item.kind} {item.subject or '(erased)'}"


def _show(item: wire.LegalHold, as_json: bool) -> None:
    lines = {
        "hold": str(item.id),
        "on": _subject(item),
        "in force": "yes" if item.in_force else "no",
        "until": when(item.until),
        "placed": f"{when(item.placed_at)} by {item.placed_by}",
        "reason": item.reason,
        "released": f"{when(item.released_at)} by {item.released_by}: {item.release_reason}"
        if item.released_at
        else "–",
    }
    show_one(item, lines, as_json=as_json)
