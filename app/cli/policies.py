"""`thumbwheel policies …`: stores, adopts and previews label policies."""

from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer
from thumbwheel import wire

from app.cli.connection import AsJson, Project, connected
from app.cli.document_files import read_document
from app.cli.listing import as_table, print_json, show_all, show_one, when
from app.cli.previews import show_explanation, show_preview
from app.errors import Invalid

policies = typer.Typer(
    help="Label policies: what thumbs and other signals mean.", no_args_is_help=True, rich_markup_mode=None
)

File = Annotated[Path, typer.Argument(metavar="FILE", help="A policy as YAML or JSON; - for stdin.")]
Version = Annotated[int, typer.Argument(min=0, help="Its number; 0 for the server's default.")]
#: A preview reads the whole log twice.
PREVIEW_SECONDS = 600


@policies.command("list")
def list_policies(project: Project = None, as_json: AsJson = False) -> None:
    """List the versions, newest first."""
    columns = {
        "version": lambda item: str(item.version),
        "in use": lambda item: "adopted" if item.adopted else "",
        "name": lambda item: item.policy.name,
        "created": lambda item: when(item.created_at),
        "by": lambda item: item.created_by or "–",
        "note": lambda item: item.note,
    }
    with connected(project) as client:
        show_all(client.label_policies.list(), columns, as_json=as_json)


@policies.command()
def show(
    version: Annotated[int | None, typer.Argument(min=0, help="[default: the adopted one]")] = None,
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Show a version with its whole policy as YAML."""
    with connected(project) as client:
        stored = client.label_policies.adopted() if version is None else client.label_policies.get(version)
    if not as_table(as_json):
        print_json(stored.model_dump(mode="json"))
        return
    import yaml

    _show(stored, as_json)
    typer.echo(
        "\n" + yaml.safe_dump(stored.policy.model_dump(mode="json"), sort_keys=False, allow_unicode=True), nl=False
    )


@policies.command()
def check(file: File, as_json: AsJson = False) -> None:
    """Check whether a file is a valid policy. Needs no server."""
    from app.labels.policies.documents import sha256_of

    policy = _policy_of(file)
    lines = {"policy": policy.name, "valid": "yes", "sha256": sha256_of(policy)}
    if as_table(as_json):
        show_one(policy, lines, as_json=as_json)
    else:
        print_json({"valid": True, "sha256": lines["sha256"], "policy": policy.model_dump(mode="json")})


@policies.command()
def create(
    file: File,
    note: Annotated[str, typer.Option(help="The reason for the policy.")] = "",
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Store a policy as the next version, which is used once it is adopted."""
    policy = _policy_of(file)
    with connected(project) as client:
        _show(client.label_policies.create(policy, note=note), as_json)


@policies.command()
def adopt(
    version: Version,
    reason: Annotated[str, typer.Option(help="The reason, for the ledger.")] = "",
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Derive labels by a version from now on."""
    with connected(project) as client:
        adoption = client.label_policies.adopt(version, reason=reason)
    lines = {
        "adopted": f"version {adoption.version}",
        "entry": str(adoption.number),
        "by": adoption.by,
        "at": when(adoption.created_at),
        "why": adoption.reason or "–",
    }
    show_one(adoption, lines, as_json=as_json)


@policies.command()
def adoptions(project: Project = None, as_json: AsJson = False) -> None:
    """List the adoptions of versions with their reasons, newest first."""
    columns = {
        "no.": lambda item: str(item.number),
        "version": lambda item: str(item.version),
        "by": lambda item: item.by,
        "at": lambda item: when(item.created_at),
        "why": lambda item: item.reason,
    }
    with connected(project) as client:
        show_all(client.label_policies.adoptions(), columns, as_json=as_json)


@policies.command()
def preview(
    policy: Annotated[str, typer.Argument(metavar="FILE|VERSION", help="A file as for create, or a stored version.")],
    days: Annotated[float | None, typer.Option(help="Days of feedback to use.  [default: 30]")] = None,
    snapshot: Annotated[str | None, typer.Option(help="Whole id of a snapshot: use the log as of it.")] = None,
    against: Annotated[
        int | None, typer.Option(min=0, help="Version to compare with.  [default: the adopted one, or the snapshot's]")
    ] = None,
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Show what a policy would change: counts and flipped labels."""
    chosen: dict[str, Any]
    chosen = {"version": int(policy)} if policy.isascii() and policy.isdigit() else {"policy": _policy_of(Path(policy))}
    new = wire.NewPreview(**chosen, days=days, snapshot_id=_uuid(snapshot), against=against)
    with connected(project, timeout=PREVIEW_SECONDS) as client:
        show_preview(client.label_policies.preview(new), as_json=as_json)


@policies.command()
def explain(
    completion_id: Annotated[str, typer.Argument(help="Your own id of the completion.")],
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Explain the label of one completion, signal by signal."""
    with connected(project, timeout=PREVIEW_SECONDS) as client:
        show_explanation(client.completions.explain_label(completion_id), as_json=as_json)


def _policy_of(file: Path) -> wire.LabelPolicy:
    """Returns the policy in a file. Raises `Invalid` with all its faults on one line."""
    from app.labels.policies.documents import read

    result = read(read_document(file))
    if isinstance(result, wire.LabelPolicy):
        return result
    faults = "; ".join(f"{fault.pointer or 'the document'}: {fault.message}" for fault in result)
    raise Invalid(f"{file} is not a label policy: {faults}.", code="invalid_label_policy", faults=result)


def _uuid(text: str | None) -> UUID | None:
    try:
        return None if text is None else UUID(text)
    except ValueError as error:
        raise Invalid(f"{text} is not the id of a snapshot: give the whole id.", code="invalid_id") from error


def _show(item: wire.StoredLabelPolicy, as_json: bool) -> None:
    lines = {
        "version": str(item.version),
        "in use": "adopted" if item.adopted else f"no: `thumbwheel policies adopt {item.version}`",
        "name": item.policy.name,
        "sha256": item.sha256,
        "created": when(item.created_at),
        "by": item.created_by or "–",
        "note": item.note or "–",
    }
    show_one(item, lines, as_json=as_json)
