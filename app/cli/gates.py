"""`thumbwheel gates …`: stores and adopts gates, and explains what they decided."""

from pathlib import Path
from typing import Annotated, Any

import typer
from thumbwheel import wire

from app.cli.connection import AsJson, Project, connected, find_id
from app.cli.document_files import read_document
from app.cli.listing import as_table, print_json, show_all, show_one, when
from app.errors import Invalid

gates = typer.Typer(
    help="Gates: what evaluation must show before a checkpoint ships.", no_args_is_help=True, rich_markup_mode=None
)

Source = Annotated[
    str, typer.Argument(metavar="FILE|PRESET", help="A file in YAML or JSON, - for stdin, or standard, strict or toy.")
]


@gates.command("list")
def list_gates(project: Project = None, as_json: AsJson = False) -> None:
    """List the versions, newest first."""
    columns = {
        "version": lambda item: str(item.version),
        "in use": lambda item: "adopted" if item.adopted else "",
        "name": lambda item: item.document.name,
        "created": lambda item: when(item.created_at),
        "by": lambda item: item.created_by,
        "note": lambda item: item.note,
    }
    with connected(project) as client:
        show_all(client.gates.list(), columns, as_json=as_json)


@gates.command()
def show(
    which: Annotated[
        str | None, typer.Argument(metavar="VERSION|PRESET", help="[default: the adopted version]")
    ] = None,
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Show a version, or a preset, with its whole document as YAML. A preset needs no server."""
    if which is not None and not which.isdecimal():
        _print_document(gates_of(which), as_json)
        return
    with connected(project) as client:
        stored = client.gates.adopted() if which is None else client.gates.get(int(which))
    if not as_table(as_json):
        print_json(stored.model_dump(mode="json"))
        return
    _show(stored, as_json)
    typer.echo()
    _print_document(stored.document, as_json)


@gates.command()
def check(source: Source, as_json: AsJson = False) -> None:
    """Check whether a file is valid gates. Needs no server."""
    from app.gates.documents import sha256_of

    document = gates_of(source)
    lines = {"gates": document.name, "valid": "yes", "sha256": sha256_of(document)}
    if as_table(as_json):
        show_one(document, lines, as_json=as_json)
    else:
        print_json({"valid": True, "sha256": lines["sha256"], "gates": document.model_dump(mode="json")})


@gates.command()
def add(
    source: Source,
    note: Annotated[str, typer.Option(help="The reason for these gates.")] = "",
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Store gates as the next version, which judges runs once it is adopted."""
    document = gates_of(source)
    with connected(project) as client:
        _show(client.gates.create(document, note=note), as_json)


@gates.command()
def adopt(
    which: Annotated[str, typer.Argument(metavar="VERSION|PRESET", help="A stored version, or a preset.")],
    reason: Annotated[str, typer.Option(help="The reason, for the ledger.")] = "",
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Judge new runs by a version from now on. A preset is stored as a version first."""
    document = None if which.isdecimal() else gates_of(which)
    with connected(project) as client:
        version = int(which) if document is None else client.gates.create(document).version
        adoption = client.gates.adopt(version, reason=reason)
    lines = {
        "adopted": f"version {adoption.version}",
        "entry": str(adoption.number),
        "by": adoption.by,
        "at": when(adoption.created_at),
        "why": adoption.reason or "–",
    }
    show_one(adoption, lines, as_json=as_json)


@gates.command()
def history(project: Project = None, as_json: AsJson = False) -> None:
    """List the adoptions of versions with their reasons, newest first."""
    columns = {
        "no.": lambda item: str(item.number),
        "version": lambda item: str(item.version),
        "by": lambda item: item.by,
        "at": lambda item: when(item.created_at),
        "why": lambda item: item.reason,
    }
    with connected(project) as client:
        show_all(client.gates.adoptions(), columns, as_json=as_json)


@gates.command()
def explain(
    checkpoint: Annotated[str, typer.Argument(help="Id of the checkpoint, or its last characters.")],
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Explain the verdict on a checkpoint, rule by rule."""
    with connected(project) as client:
        item = client.checkpoints.get(find_id(checkpoint, client.checkpoints.list(), "checkpoint"))
    if not as_table(as_json):
        print_json(item.model_dump(mode="json", include={"id", "verdict", "gates", "decision", "reasons", "overrides"}))
        return
    lines = {
        "checkpoint": str(item.id),
        "gates": f"{item.gates.name}, version {item.gates.version}" if item.gates else "–",
        "verdict": item.verdict,
    }
    show_one(item, lines, as_json=as_json)
    typer.echo()
    show_all(item.decision, COLUMNS, as_json=as_json)
    for reason in item.reasons:
        typer.echo(f"\n{reason}")


def bound_of(row: wire.RuleDecision) -> str:
    """Returns the bounds of a rule, – if it has none."""
    from app.gates.reasons import bound_in_words

    return "–" if row.at_least is row.at_most is row.above is None else bound_in_words(row)


def _interval(row: wire.RuleDecision) -> str:
    if row.value is None:
        return "–"
    return f"{row.value:.4g}" + ("" if row.low in (None, row.high) else f" ({row.low:.4g} … {row.high:.4g})")


COLUMNS = {
    "rule": lambda row: row.rule,
    "verdict": lambda row: row.verdict,
    "figure": _interval,
    "must be": bound_of,
    "groups": lambda row: "–" if row.groups is None else f"{row.groups:,}",
    "enough": lambda row: "–" if row.enough_groups is None else f"{row.enough_groups:,}",
}


def gates_of(source: str) -> wire.GateDocument:
    """Returns the gates of a preset's name or in a file. Raises `Invalid` with all their faults on one line."""
    from app.gates.documents import read
    from app.gates.presets import PRESETS

    for name, preset in PRESETS.items():
        if name == source:
            return preset
    result = read(read_document(Path(source)))
    if isinstance(result, wire.GateDocument):
        return result
    faults = "; ".join(f"{fault.pointer or 'the document'}: {fault.message}" for fault in result)
    raise Invalid(f"{source} is not valid gates: {faults}.", code="invalid_gates", faults=result)


def _print_document(document: wire.GateDocument, as_json: bool) -> None:
    values: dict[str, Any] = document.model_dump(mode="json", exclude_defaults=True)
    if not as_table(as_json):
        print_json(document.model_dump(mode="json"))
        return
    import yaml

    typer.echo(yaml.safe_dump(values, sort_keys=False, allow_unicode=True), nl=False)


def _show(item: wire.StoredGates, as_json: bool) -> None:
    lines = {
        "version": str(item.version),
        "in use": "adopted" if item.adopted else f"no: `thumbwheel gates adopt {item.version}`",
        "name": item.document.name,
        "sha256": item.sha256,
        "created": when(item.created_at),
        "by": item.created_by,
        "note": item.note or "–",
    }
    show_one(item, lines, as_json=as_json)
