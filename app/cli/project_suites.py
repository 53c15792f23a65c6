"""`thumbwheel suites …`: lists, shows, stores, adopts and drops the suites of a project."""

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.connection import AsJson, Project, connected
from app.cli.listing import as_table, print_json, show_all, show_one, when
from app.cli.suites import suite_of
from app.errors import Invalid

if TYPE_CHECKING:
    from thumbwheel import Client, wire

Own = Annotated[bool, typer.Option("--own", help="Only suites that come with Thumbwheel; asks no server.")]
Reason = Annotated[str, typer.Option(help="The reason, for the ledger.")]
NAMED = "NAME[@VERSION]"


def list_suites(own: Own = False, project: Project = None, as_json: AsJson = False) -> None:
    """List suites: with an API key the project's, else Thumbwheel's.

    Those of a project are its stored versions, and version 0 of each suite that comes with the server.
    """
    if not own and _has_project(project):
        columns = {
            "name": lambda item: item.name,
            "version": lambda item: str(item.version),
            "in use": lambda item: "adopted" if item.adopted else "",
            "tests": lambda item: f"{item.tests:,}",
            "sha256": lambda item: item.sha256[:12],
            "created": lambda item: when(item.created_at),
            "note": lambda item: item.note,
        }
        with connected(project) as client:
            show_all(client.suites.list(), columns, as_json=as_json)
        return
    from app.suites import own as ours

    _show_own([suite_of(name) for name in ours.names()], as_json)


def show(
    name: Annotated[str, typer.Argument(metavar=NAMED, help="A suite of `thumbwheel suites list`.")],
    own: Own = False,
    project: Project = None,
) -> None:
    """Print a suite as YAML, to copy and change it.

    Of a project's suite: the adopted version, or else the newest one.
    """
    from app.suites import own as ours

    if own or not _has_project(project):
        if name not in ours.names():
            raise Invalid(f"No suite is named {name!r}: use {', '.join(ours.names())}.", code="unknown_suite")
        sys.stdout.write(ours.text_of(name))
        return
    import yaml

    with connected(project) as client:
        chosen = _version_of(client, name, adopted_first=True)
        stored = client.suites.get(chosen.name, chosen.version)
    document = stored.suite.model_dump(mode="json", by_alias=True)
    sys.stdout.write(yaml.safe_dump(document, sort_keys=False, allow_unicode=True))


def add(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A suite as YAML or JSON; - for stdin.")],
    note: Annotated[str, typer.Option(help="The reason for the suite.")] = "",
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Store a suite as the next version of its name. Evaluations run it once it is adopted."""
    suite = suite_of(file)
    with connected(project) as client:
        item = client.suites.create(suite, note=note)
    lines = {
        "suite": item.name,
        "version": str(item.version),
        "in use": "adopted" if item.adopted else f"no: `thumbwheel suites adopt '{item.name}@{item.version}'`",
        "tests": f"{item.tests:,} ({item.samples:,} samples)",
        "sha256": item.sha256,
        "created": when(item.created_at),
        "note": item.note or "–",
    }
    show_one(item, lines, as_json=as_json)


def adopt(
    name: Annotated[str, typer.Argument(metavar=NAMED, help="A suite; without a version, its newest one.")],
    reason: Reason = "",
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Run a version of a suite in the evaluation of each run that is requested from now on."""
    with connected(project) as client:
        chosen = _version_of(client, name)
        _show_entry(client.suites.adopt(chosen.name, chosen.version, reason=reason), as_json)


def drop(
    name: Annotated[str, typer.Argument(help="Name of an adopted suite.")],
    reason: Reason = "",
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Stop running a suite in evaluations. Its versions stay, to be adopted again."""
    with connected(project) as client:
        _show_entry(client.suites.drop(name, reason=reason), as_json)


def adopted(project: Project = None, as_json: AsJson = False) -> None:
    """List the suites that evaluations run now."""
    columns = {
        "name": lambda item: item.name,
        "version": lambda item: str(item.version),
        "tests": lambda item: f"{item.tests:,}",
        "samples": lambda item: f"{item.samples:,}",
        "sha256": lambda item: item.sha256[:12],
    }
    with connected(project) as client:
        show_all(client.suites.adopted(), columns, as_json=as_json)


def history(project: Project = None, as_json: AsJson = False) -> None:
    """List which suites were adopted and dropped, newest first."""
    columns = {
        "no.": lambda item: str(item.number),
        "suite": lambda item: item.name,
        "version": lambda item: "dropped" if item.version is None else str(item.version),
        "by": lambda item: item.by,
        "at": lambda item: when(item.created_at),
        "why": lambda item: item.reason,
    }
    with connected(project) as client:
        show_all(client.suites.adoptions(), columns, as_json=as_json)


def _has_project(project: str | None) -> bool:
    """Returns whether a project is named or a key is set; without both, no server is needed."""
    from app import settings

    return project is not None or settings.current().api_key is not None


def _version_of(client: "Client", text: str, *, adopted_first: bool = False) -> "wire.SuiteVersion":
    """Returns the version that the argument names; without a number the newest one. Raises `Invalid`."""
    name, at, number = text.rpartition("@")
    chosen = int(number) if at and number.isascii() and number.isdigit() and len(number) < 11 else None
    items = list(client.suites.list())
    versions = [item for item in items if item.name == (text if chosen is None else name)]
    matches = [item for item in versions if chosen is None or item.version == chosen]
    if not matches:
        have = ", ".join(str(item.version) for item in versions)
        known = ", ".join(dict.fromkeys(item.name for item in items))
        remedy = f"its versions are {have}" if have else f"use one of {known}"
        raise Invalid(f"The project has no suite {text!r}: {remedy}.", code="unknown_suite")
    in_use = [item for item in matches if item.adopted] if adopted_first else []
    return (in_use or matches)[0]


def _show_own(items: "list[wire.Suite]", as_json: bool) -> None:
    from rich.table import Table
    from rich.text import Text

    from app.cli.listing import console
    from app.suites.documents import sha256_of

    shown: list[dict[str, Any]] = [
        {
            "name": suite.name,
            "version": suite.version,
            "tests": len(suite.tests),
            "sha256": sha256_of(suite),
            "description": suite.description,
        }
        for suite in items
    ]
    if not as_table(as_json):
        print_json(shown)
        return
    table = Table("name", "version", "tests", "sha256", "description", box=None, header_style="bold", pad_edge=False)
    for item in shown:
        cells = {**item, "sha256": item["sha256"][:12]}
        table.add_row(*(Text(str(cell)) for cell in cells.values()))
    console().print(table)


def _show_entry(item: "wire.SuiteAdoption", as_json: bool) -> None:
    lines = {
        "suite": item.name,
        "version": "dropped" if item.version is None else str(item.version),
        "entry": str(item.number),
        "by": item.by,
        "at": when(item.created_at),
        "why": item.reason or "–",
    }
    show_one(item, lines, as_json=as_json)
