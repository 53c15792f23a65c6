"""`thumbwheel imports`: imports that the server does, and `thumbwheel import --upload`, which begins some."""

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO
from uuid import UUID

import typer

from app.cli.connection import PATIENT_TRIES, AsJson, Project, connected, find_id, short_id
from app.cli.import_outcomes import opened_rejects, print_outcomes
from app.cli.listing import as_table, print_json, seconds, show_all, show_one, when
from app.cli.progress_bars import transfer_bar
from app.errors import Invalid

if TYPE_CHECKING:
    from thumbwheel import Client, wire

imports = typer.Typer(help="Imports of uploaded files.", no_args_is_help=True, rich_markup_mode=None)

Which = Annotated[str, typer.Argument(metavar="IMPORT", help="Its id, or its last characters.")]
INTERRUPTED = 130


@imports.command("list")
def list_imports(project: Project = None, as_json: AsJson = False) -> None:
    """List imports, newest first."""
    columns = {
        "id": lambda item: short_id(item.id),
        "file": lambda item: item.name,
        "state": lambda item: f"{item.state}, dry run" if item.dry_run else item.state,
        "read": _read,
        "left": lambda item: seconds(item.progress.eta_seconds),
        "stored": lambda item: f"{item.counts.stored:,}",
        "replayed": lambda item: f"{item.counts.replayed:,}",
        "rejected": lambda item: f"{item.counts.rejected:,}",
        "uploaded": lambda item: when(item.created_at),
        "by": lambda item: item.created_by,
        "reason": lambda item: item.reason or "",
    }
    with connected(project) as client:
        show_all(client.imports.list(), columns, as_json=as_json)


@imports.command()
def show(which: Which, project: Project = None, as_json: AsJson = False) -> None:
    """Show an import: its progress, and what became of its records."""
    with connected(project) as client:
        item = client.imports.get(_id(client, which))
    lines = {
        "import": str(item.id),
        "file": f"{item.name}, {item.size:,} bytes",
        "state": f"{item.state}: {item.reason}" if item.reason else item.state,
        "uploaded": f"{when(item.created_at)} by {item.created_by}",
        "began": when(item.started_at),
        "ended": when(item.finished_at),
        "read": f"{_read(item)}, {item.progress.rows:,} rows{_rate(item)}",
    }
    show_one(item, lines, as_json=as_json)
    if as_table(as_json) and item.files:
        _print_files([item])


@imports.command()
def watch(which: Which, project: Project = None, as_json: AsJson = False) -> None:
    """Follow an import to its end; Ctrl-C does not stop it.

    Exit codes: 0 if no record was rejected; 1 if some were; 2 if it failed, was cancelled or understood no record.
    """
    with connected(project, tries=PATIENT_TRIES) as client:
        item = _followed(client, _id(client, which))
    if as_table(as_json):
        _print_ends([item])
    else:
        print_json(item.model_dump(mode="json"))
    _exit([item])


@imports.command()
def cancel(which: Which, project: Project = None, as_json: AsJson = False) -> None:
    """End an import; what is stored stays."""
    with connected(project) as client:
        item = client.imports.cancel(_id(client, which))
    show_one(item, {"import": str(item.id), "state": item.state, "stored": f"{item.counts.stored:,}"}, as_json=as_json)


@imports.command()
def rejects(which: Which, project: Project = None) -> None:
    """Print the rejected records as JSON lines: file, number and reason."""
    with connected(project) as client:
        for reject in client.imports.rejects(_id(client, which)):
            sys.stdout.write(json.dumps(reject, ensure_ascii=False) + "\n")


@imports.command()
def delete(which: Which, project: Project = None) -> None:
    """Delete the report of an import that has ended; its feedback stays."""
    with connected(project) as client:
        client.imports.delete(_id(client, which))


def import_on_server(
    client: "Client",
    files: Sequence[str],
    options: "wire.ImportOptions",
    *,
    dry_run: bool,
    restart: bool,
    rejects: Path | None,
    as_json: bool,
) -> None:
    """Uploads the files, follows their imports and shows their outcomes. Raises `typer.Exit` as `import` does."""
    paths = [_uploadable(file) for file in files]
    with ExitStack() as stack:
        listed = None if rejects is None else stack.enter_context(opened_rejects(rejects))
        ids: list[UUID] = []
        try:
            with transfer_bar("uploading", sum(path.stat().st_size for path in paths)) as advance:
                for path in paths:
                    ids.append(_uploaded(client, path, options, ids, advance, dry_run=dry_run, restart=restart))
        except BaseException:
            _say_what_continues(ids)
            raise
        ended = [_followed(client, import_id) for import_id in ids]
        if listed is not None:
            _write_rejects(client, ids, listed)
    if as_table(as_json):
        _print_ends(ended)
    else:
        print_json([item.model_dump(mode="json") for item in ended])
    _exit(ended)


def _uploadable(file: str) -> Path:
    """Returns the path of a file of this machine. Raises `Invalid` for anything else, with the remedy."""
    from app.cli.exports.folder import is_export

    path = Path(file)
    if path.is_dir() and is_export(path):
        raise Invalid(f"{file} is the folder of an export: import it without --upload.", code="file_unreadable")
    if not path.is_file():
        remedy = "write it to a file first" if file == "-" else "name its files"
        remedy = "download it first, or leave out --upload" if "://" in file else remedy
        raise Invalid(f"--upload sends files, and {file} is none: {remedy}.", code="file_unreadable")
    return path


def _uploaded(
    client: "Client",
    path: Path,
    options: "wire.ImportOptions",
    before: Sequence[UUID],
    advance: Callable[[int], None],
    *,
    dry_run: bool,
    restart: bool,
) -> UUID:
    """Uploads a file and returns its import. Waits for those before while the project takes no more of them."""
    from thumbwheel import ApiError

    for waiting in [*before, None]:
        try:
            return client.imports.upload(path, options, dry_run=dry_run, restart=restart, progress=advance).id
        except ApiError as error:
            if error.code != "too_many_imports" or waiting is None:
                raise
        client.imports.wait(waiting)
    raise AssertionError("the last attempt returns or raises")


def _say_what_continues(ids: Sequence[UUID]) -> None:
    if ids:
        listed = ", ".join(map(short_id, ids))
        sys.stderr.write(f"What was uploaded is imported nevertheless: {listed}. See `thumbwheel imports list`.\n")


def _followed(client: "Client", import_id: UUID) -> "wire.Import":
    """Shows the progress of an import until it has ended, and returns it."""
    item = client.imports.get(import_id)
    try:
        with transfer_bar("importing", item.size) as advance:
            read = 0
            for item in client.imports.follow(import_id):
                advance(item.progress.bytes_done - read)
                read = item.progress.bytes_done
    except KeyboardInterrupt:
        sys.stderr.write(
            f"Import {import_id} continues: `thumbwheel imports watch {import_id}` shows it again, `imports cancel` "
            "ends it.\n"
        )
        raise typer.Exit(INTERRUPTED) from None
    return item


def _print_ends(items: "Sequence[wire.Import]") -> None:
    _print_files(items)
    for item in items:
        if item.state != "done":
            sys.stderr.write(f"{item.name}: {item.state}: {item.reason}\n")


def _exit(items: "Sequence[wire.Import]") -> None:
    """Raises `typer.Exit` unless all records of the ended imports are stored."""
    counts = [item.counts for item in items]
    understood = any(sum(count.model_dump().values()) - count.rejected for count in counts)
    if not understood or any(item.state != "done" for item in items):
        raise typer.Exit(2)
    if any(count.rejected for count in counts):
        raise typer.Exit(1)


def _print_files(items: "Iterable[wire.Import]") -> None:
    from app.feedback.importing import outcome_of

    for item in items:
        if item.files:
            print_outcomes([outcome_of(file.model_dump()) for file in item.files], dry_run=item.dry_run)


def _write_rejects(client: "Client", ids: Iterable[UUID], file: TextIO) -> None:
    for import_id in ids:
        for reject in client.imports.rejects(import_id):
            file.write(json.dumps(reject) + "\n")


def _read(item: "wire.Import") -> str:
    return f"{item.progress.bytes_done / max(1, item.progress.bytes_total):.0%}"


def _rate(item: "wire.Import") -> str:
    progress = item.progress
    if progress.rows_per_second is None:
        return ""
    left = "" if progress.eta_seconds is None else f", about {seconds(progress.eta_seconds)} left"
    return f", {progress.rows_per_second:,.0f} rows a second{left}"


def _id(client: "Client", which: str) -> UUID:
    return find_id(which, client.imports.list(), "import")
