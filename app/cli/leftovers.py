"""`thumbwheel leftovers`: files of the artifact store that no row names, and their removal."""

from typing import Annotated

import typer

from app.cli.connection import AsJson
from app.cli.listing import as_table, console, show_all, when

MB = 1e6


def leftovers(
    days: Annotated[float, typer.Option(help="Only those that nobody touched for so many days.")] = 2,
    delete: Annotated[bool, typer.Option("--delete", help="Delete them.")] = False,
    as_json: AsJson = False,
) -> None:
    """List files of the artifact store that nothing in the database names: killed workers leave some. Run it where the
    server's settings are; a store that several databases share has files of the others, which this one does not name.
    """
    from app.privacy.leftovers import service

    found = service.leftovers(days)
    if delete:
        service.remove(found)
    columns = {
        "sha256": lambda one: one.sha256,
        "MB": lambda one: f"{one.size / MB:.1f}",
        "touched": lambda one: when(one.touched),
    }
    show_all(found, columns, as_json=as_json)
    if as_table(as_json) and found:
        what = "deleted" if delete else "to delete them: --delete"
        console().print(f"{len(found)} files, {sum(one.size for one in found) / MB:.1f} MB; {what}")
