"""`thumbwheel policies …`: what a thumb means."""

from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer
from thumbwheel import wire

from app.cli.connection import AsJson, Project, connected
from app.cli.listing import as_table, print_json, show_all, show_one, when
from app.cli.policy_files import read_document
from app.cli.previews import show_explanation, show_preview
from app.errors import Invalid

policies = typer.Typer(help="What a thumb means: label policies.", no_args_is_help=True, rich_markup_mode=None)

File = Annotated[Path, typer.Argument(metavar="FILE", help="A policy as YAML or JSON; - is stdin.")]
Version = Annotated[int, typer.Argument(min=0, help="Its number; 0 is the server's default.")]
#: The whole log is read twice.
PREVIEW_SECONDS = 600


@policies.command("list")
def list_policies(project: Project = None, as_json: AsJson = False) -> None:
    """List the versions, newest first."""
    columns = {
        "version": lambda item: str(item.version),
        "in use": lambda item: "adopted" if item.adopted else "",
        "name": lambda item: item.policy.name,
        "made": lambda item: when(item.created_at),
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
    """Show a version with everything that it says, as YAML."""
    with connected(project) as client:
        found = client.label_policies.adopted() if version is None else client.label_policies.get(version)
    if not as_table(as_json):
        print_json(found.model_dump(mode="json"))
        return
    import yaml

    _show(found, as_json)
    typer.echo(
        "\n" + yaml.safe_dump(found.policy.model_dump(mode="json"), sort_keys=False, allow_unicode=True), nl=False
    )


@policies.command()
def check(file: File, as_json: AsJson = False) -> None:
    """Say whether a file is a policy; no server is needed."""
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
    note: Annotated[str, typer.Option(help="Why it is as it is.")] = "",
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Store a policy as the next version; it is used once it is adopted."""
    policy = _policy_of(file)
    with connected(project) as client:
        _show(client.label_policies.create(policy, note=note), as_json)


@policies.command()
def adopt(
    version: Version,
    reason: Annotated[str, typer.Option(help="Why, for the ledger.")] = "",
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Have labels given by a version from now on."""
    with connected(project) as client:
        done = client.label_policies.adopt(version, reason=reason)
    lines = {
        "adopted": f"version {done.version}",
        "entry": str(done.number),
        "by": done.by,
        "at": when(done.created_at),
        "why": done.reason or "–",
    }
    show_one(done, lines, as_json=as_json)


@policies.command()
def adoptions(project: Project = None, as_json: AsJson = False) -> None:
    """List which version was adopted when, and why, newest first."""
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
    days: Annotated[float | None, typer.Option(help="Feedback of so many days.  [default: 30]")] = None,
    snapshot: Annotated[str | None, typer.Option(help="The log as it was for this snapshot, by its id.")] = None,
    against: Annotated[
        int | None, typer.Option(min=0, help="Version to compare with.  [default: the adopted one, or the snapshot's]")
    ] = None,
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Show what a policy would change: counts, and who flips."""
    chosen: dict[str, Any]
    chosen = {"version": int(policy)} if policy.isascii() and policy.isdigit() else {"policy": _policy_of(Path(policy))}
    new = wire.NewPreview(**chosen, days=days, snapshot_id=_uuid(snapshot), against=against)
    with connected(project, timeout=PREVIEW_SECONDS) as client:
        show_preview(client.label_policies.preview(new), as_json=as_json)


@policies.command()
def explain(
    completion_id: Annotated[str, typer.Argument(help="Your own id of it.")],
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Explain the label of one completion, signal by signal."""
    with connected(project, timeout=PREVIEW_SECONDS) as client:
        show_explanation(client.completions.explain_label(completion_id), as_json=as_json)


def _policy_of(file: Path) -> wire.LabelPolicy:
    """Raises `Invalid` with everything that is wrong, on one line."""
    from app.labels.policies.documents import read

    found = read(read_document(file))
    if isinstance(found, wire.LabelPolicy):
        return found
    what = "; ".join(f"{fault.pointer or 'the document'}: {fault.message}" for fault in found)
    raise Invalid(f"{file} is no label policy: {what}.", code="invalid_label_policy", faults=found)


def _uuid(given: str | None) -> UUID | None:
    try:
        return None if given is None else UUID(given)
    except ValueError as error:
        raise Invalid(f"{given} is no id of a snapshot: give the whole id.", code="invalid_id") from error


def _show(item: wire.StoredLabelPolicy, as_json: bool) -> None:
    lines = {
        "version": str(item.version),
        "in use": "adopted" if item.adopted else f"no: `thumbwheel policies adopt {item.version}`",
        "name": item.policy.name,
        "sha256": item.sha256,
        "made": when(item.created_at),
        "by": item.created_by or "–",
        "note": item.note or "–",
    }
    show_one(item, lines, as_json=as_json)
