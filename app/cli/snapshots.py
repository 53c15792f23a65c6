"""`thumbwheel snapshot …`: lists, shows and pulls the datasets that runs learn from."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer
from thumbwheel import wire

from app.cli.connection import AsJson, Project, connected, find_id, short_id
from app.cli.listing import as_table, print_json, show_all, show_one, when
from app.cli.snapshot_pull import Format, Split, pull_snapshot
from app.errors import NotFound

if TYPE_CHECKING:
    from thumbwheel import Client

snapshot = typer.Typer(help="Immutable datasets that runs learn from.", no_args_is_help=True, rich_markup_mode=None)

LATEST = "latest"
Which = Annotated[str, typer.Argument(metavar="SNAPSHOT", help=f"Its id, its last characters, or {LATEST}.")]


@snapshot.command("list")
def list_snapshots(project: Project = None, as_json: AsJson = False) -> None:
    """List snapshots, newest first."""
    columns = {
        "id": lambda item: short_id(item.id),
        "created": lambda item: when(item.created_at),
        "watermark": lambda item: str(item.watermark),
        "policy": lambda item: f"{item.policy.name} {item.policy.version}" if item.policy else "–",
        "train up/down": lambda item: _rows(item, "train"),
        "holdout up/down": _held_out,
        "redacted, see": lambda item: (
            (short_id(item.successor_id) if item.successor_id else "gone") if item.redacted_at else ""
        ),
        "sha256": lambda item: item.sha256[:12],
    }
    with connected(project) as client:
        show_all(client.snapshots.list(), columns, as_json=as_json)


@snapshot.command()
def show(which: Which, project: Project = None, as_json: AsJson = False) -> None:
    """Show a snapshot: its origin, its counts and its files. The JSON contains the whole manifest."""
    with connected(project) as client:
        item = client.snapshots.get(_id_of(client, which))
    lines = {
        "id": str(item.id),
        "sha256": item.sha256,
        "created": when(item.created_at),
        "watermark": str(item.watermark),
        "policy": f"{item.policy.name} version {item.policy.version}" if item.policy else "–",
        "train, up/down": _rows(item, "train"),
        "holdout, up/down": _rows(item, "holdout"),
        **({"later, up/down": _rows(item, "later")} if "later" in item.counts else {}),
        "redacted": f"{when(item.redacted_at)}, see {item.successor_id or 'nothing: no row is left'}"
        if item.redacted_at
        else "no",
        "files": "\n".join(sorted(item.files)),
    }
    show_one(item, lines, as_json=as_json)


@snapshot.command()
def card(which: Which, project: Project = None, as_json: AsJson = False) -> None:
    """Print a snapshot's card as Markdown, also into a pipe."""
    with connected(project) as client:
        text = client.snapshots.card(_id_of(client, which))
    if as_json:
        print_json({"card": text})
    else:
        sys.stdout.write(text)


@snapshot.command()
def pull(
    which: Which,
    to: Annotated[Path, typer.Option("--to", help="The folder to create.")],
    form: Annotated[
        Format,
        typer.Option(
            "--format",
            help="parquet: the files of the snapshot. jsonl: a file of JSON lines per split, as TRL reads them. "
            "datasets: a folder for `datasets.load_from_disk`.",
        ),
    ] = Format.parquet,
    split: Annotated[Split | None, typer.Option("--split", help="Pull only this split.")] = None,
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Download a snapshot and verify every file by its hash. The folder appears only when it is complete."""
    with connected(project) as client:
        pulled = pull_snapshot(client, _id_of(client, which), to, form, [split] if split else list(Split))
    if as_table(as_json):
        lines = {
            "snapshot": str(pulled.snapshot_id),
            "sha256": pulled.sha256,
            "folder": f"{pulled.folder}{'' if pulled.new else ', which had it already'}",
            **{f"rows of {name}": f"{count:,}" for name, count in pulled.rows.items()},
            **({"note": "\n".join(pulled.notes)} if pulled.notes else {}),
        }
        show_one(pulled, lines, as_json=False)
    else:
        print_json(pulled.model_dump(mode="json"))


def _id_of(client: "Client", which: str) -> UUID:
    """Returns the id of a snapshot; `latest` is the newest that is not redacted. Raises `NotFound`, `Invalid`."""
    if which != LATEST:
        return find_id(which, client.snapshots.list(), "snapshot")
    for item in client.snapshots.list():
        if item.redacted_at is None:
            return item.id
    raise NotFound("The project has no snapshot yet: a run builds one (`thumbwheel runs start`).", code="no_snapshot")


def _held_out(item: wire.Snapshot) -> str:
    later = f", later {_rows(item, 'later')}" if "later" in item.counts else ""
    return _rows(item, "holdout") + later


def _rows(item: wire.Snapshot, split: str) -> str:
    counts = item.counts.get(split)
    return f"{counts.desirable:,}/{counts.undesirable:,}" if counts else "–"
