"""`thumbwheel snapshot …`: the datasets that runs learn from, listed, shown and pulled."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer
from thumbwheel import wire

from app.cli.connection import AsJson, Project, connected, ending, of_ending
from app.cli.listing import as_table, print_json, show_all, show_one, when
from app.cli.snapshot_pull import Format, Split, pulled
from app.errors import NotFound

if TYPE_CHECKING:
    from thumbwheel import Client

snapshot = typer.Typer(help="Immutable datasets that runs learn from.", no_args_is_help=True, rich_markup_mode=None)

LATEST = "latest"
Which = Annotated[str, typer.Argument(metavar="SNAPSHOT", help=f"Its id, how that ends, or {LATEST}.")]


@snapshot.command("list")
def list_snapshots(project: Project = None, as_json: AsJson = False) -> None:
    """List snapshots, newest first."""
    columns = {
        "id": lambda item: ending(item.id),
        "made": lambda item: when(item.created_at),
        "watermark": lambda item: str(item.watermark),
        "policy": lambda item: f"{item.policy.name} {item.policy.version}" if item.policy else "–",
        "train up/down": lambda item: _rows(item, "train"),
        "holdout up/down": _held_out,
        "redacted, see": lambda item: (
            (ending(item.successor_id) if item.successor_id else "gone") if item.redacted_at else ""
        ),
        "sha256": lambda item: item.sha256[:12],
    }
    with connected(project) as client:
        show_all(client.snapshots.list(), columns, as_json=as_json)


@snapshot.command()
def show(which: Which, project: Project = None, as_json: AsJson = False) -> None:
    """Show a snapshot: where it comes from, what is inside, its files. As JSON with its whole manifest."""
    with connected(project) as client:
        found = client.snapshots.get(_id_of(client, which))
    lines = {
        "id": str(found.id),
        "sha256": found.sha256,
        "made": when(found.created_at),
        "watermark": str(found.watermark),
        "policy": f"{found.policy.name} version {found.policy.version}" if found.policy else "–",
        "train, up/down": _rows(found, "train"),
        "holdout, up/down": _rows(found, "holdout"),
        **({"later, up/down": _rows(found, "later")} if "later" in found.counts else {}),
        "redacted": f"{when(found.redacted_at)}, see {found.successor_id or 'nothing: no row is left'}"
        if found.redacted_at
        else "no",
        "files": "\n".join(sorted(found.files)),
    }
    show_one(found, lines, as_json=as_json)


@snapshot.command()
def card(which: Which, project: Project = None, as_json: AsJson = False) -> None:
    """Print a snapshot's card: Markdown, in a pipe, too."""
    with connected(project) as client:
        text = client.snapshots.card(_id_of(client, which))
    if as_json:
        print_json({"card": text})
    else:
        sys.stdout.write(text)


@snapshot.command()
def pull(
    which: Which,
    to: Annotated[Path, typer.Option("--to", help="The folder that is made.")],
    form: Annotated[
        Format,
        typer.Option(
            "--format",
            help="parquet: the files as they are. jsonl: a file of lines for each split, as TRL reads them. "
            "datasets: what `datasets.load_from_disk` opens.",
        ),
    ] = Format.parquet,
    split: Annotated[Split | None, typer.Option("--split", help="One of them alone.")] = None,
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Download a snapshot, every file verified by its hash. The folder is there whole, or not at all."""
    with connected(project) as client:
        done = pulled(client, _id_of(client, which), to, form, [split] if split else list(Split))
    if as_table(as_json):
        lines = {
            "snapshot": str(done.snapshot_id),
            "sha256": done.sha256,
            "folder": f"{done.folder}{'' if done.new else ', which had it already'}",
            **{f"rows of {name}": f"{count:,}" for name, count in done.rows.items()},
            **({"note": "\n".join(done.notes)} if done.notes else {}),
        }
        show_one(done, lines, as_json=False)
    else:
        print_json(done.model_dump(mode="json"))


def _id_of(client: "Client", which: str) -> UUID:
    """Returns the id of a snapshot; `latest` is the newest that is not redacted. Raises `NotFound`, `Invalid`."""
    if which != LATEST:
        return of_ending(which, client.snapshots.list(), "snapshot")
    for item in client.snapshots.list():
        if item.redacted_at is None:
            return item.id
    raise NotFound("The project has no snapshot yet: a run makes one (`thumbwheel runs start`).", code="no_snapshot")


def _held_out(item: wire.Snapshot) -> str:
    later = f", later {_rows(item, 'later')}" if "later" in item.counts else ""
    return _rows(item, "holdout") + later


def _rows(item: wire.Snapshot, split: str) -> str:
    counted = item.counts.get(split)
    return f"{counted.desirable:,}/{counted.undesirable:,}" if counted else "–"
