"""`thumbwheel leftovers`: lists or deletes files of the artifact store that no row of the database names."""

from typing import Annotated

import typer

from app.cli.connection import AsJson
from app.cli.listing import as_table, console, show_all, when

MB = 1e6


def leftovers(
    days: Annotated[float, typer.Option(help="Only files that were not stored again for this many days.")] = 2,
    delete: Annotated[bool, typer.Option("--delete", help="Delete them.")] = False,
    as_json: AsJson = False,
) -> None:
    """List files of the artifact store that no row of the database names; killed workers leave some.

    Run it with the server's settings. If several databases share the store, it lists the files of the others, too.
    """
    from app.privacy.leftovers import service

    files = service.leftovers(days)
    if delete:
        service.remove(files)
    columns = {
        "file": lambda file: file.sha256 or f"uploads/{file.upload}",
        "MB": lambda file: f"{file.size / MB:.1f}",
        "stored": lambda file: when(file.touched),
    }
    show_all(files, columns, as_json=as_json)
    if as_table(as_json) and files:
        outcome = "deleted" if delete else "add --delete to delete them"
        console().print(f"{len(files)} files, {sum(file.size for file in files) / MB:.1f} MB; {outcome}")
