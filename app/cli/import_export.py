"""`thumbwheel import FOLDER`: reads back what `thumbwheel export` wrote."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from app.cli.connection import PATIENT_TRIES, connected
from app.cli.listing import as_table, print_json, show_one
from app.cli.progress_bars import progress_bar
from app.errors import Invalid

if TYPE_CHECKING:
    from app.cli.exports.copy_in import CopiedIn


def import_export(
    paths: Sequence[Path], project: str | None, *, dry_run: bool, with_settings: bool, as_json: bool
) -> bool:
    """Imports the export that the paths name; returns False if they name files of feedback.

    Raises `Invalid` for an export among other paths, or settings without one.
    """
    from app.cli.exports.folder import is_export

    if not any(map(is_export, paths)):
        if with_settings:
            raise Invalid("--settings needs the folder of an export.", code="no_export")
        return False
    if len(paths) > 1:
        raise Invalid("Name one export, and no other file.", code="several_exports")
    from app.cli.exports.copy_in import copy_in, rows_of
    from app.cli.exports.folder import manifest_of

    [folder] = paths
    manifest = manifest_of(folder)
    with ExitStack() as stack:
        client = None if dry_run else stack.enter_context(connected(project, tries=PATIENT_TRIES))
        advance = stack.enter_context(progress_bar("importing", rows_of(manifest)))
        outcome = copy_in(client, folder, manifest, with_settings=with_settings, advance=advance)
    _show(outcome, dry_run=dry_run, as_json=as_json)
    return True


def _show(outcome: "CopiedIn", *, dry_run: bool, as_json: bool) -> None:
    if not as_table(as_json):
        print_json(outcome.model_dump(mode="json"))
        return
    lines = {
        "export of": outcome.project,
        "would be stored" if dry_run else "stored": f"{outcome.stored:,}",
        "replayed": f"{outcome.replayed:,}",
        "stay erased": f"{outcome.erased:,}",
        "erased actors": f"{outcome.erasures:,}",
        **({"expired": f"{outcome.expired:,}, which the retention of the project deletes"} if outcome.expired else {}),
        **({"restored": "\n".join(outcome.settings)} if outcome.settings else {}),
    }
    show_one(outcome, lines, as_json=False)
