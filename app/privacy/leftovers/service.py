"""Finds and deletes files of the artifact store that no row names. A worker that is killed between storing and
registering leaves some: they take space, and may have texts of users who have been erased since.
"""

from datetime import UTC, datetime, timedelta

from pydantic import BaseModel

from app import artifacts
from app.database import now, transaction
from app.errors import Conflict, Invalid
from app.feedback.import_jobs import service as imports
from app.privacy.holds import service as holds
from app.privacy.leftovers import store
from app.snapshots.files.parquet import CARD, MANIFEST, ORIGIN

#: Files are stored long before their rows are written, so a younger file may still get a row.
LEAST_DAYS = 1
AT_ONCE = 1000


class Leftover(BaseModel):
    """A file without a row, by its hash, or an upload by its name. `size`: in bytes · `touched`: when it was stored."""

    sha256: str | None = None
    upload: str | None = None
    size: int
    touched: datetime


def leftovers(days: float) -> list[Leftover]:
    """Returns the files that were not stored for `days` days and that no row of this database names, oldest first.

    Raises `Invalid` for fewer than `LEAST_DAYS`, `Unavailable` if the store or the database does not answer.
    """
    if days < LEAST_DAYS:
        raise Invalid(
            f"--days is {days:g}: give at least {LEAST_DAYS}, as younger files may belong to a run that goes on.",
            code="leftovers_too_young",
        )
    before = now() - timedelta(days=days)
    old = [file for file in artifacts.stored() if file.touched < before]
    unnamed: list[Leftover] = []
    with transaction() as session:
        for start in range(0, len(old), AT_ONCE):
            part = old[start : start + AT_ONCE]
            named = store.named(session, [file.sha256 for file in part], kept=(MANIFEST, ORIGIN, CARD))
            unnamed += [
                Leftover(sha256=file.sha256, size=file.size, touched=file.touched.astimezone(UTC))
                for file in part
                if file.sha256 not in named
            ]
    return sorted([*unnamed, *_uploads(before)], key=lambda file: (file.touched, file.sha256 or file.upload or ""))


def remove(files: list[Leftover]) -> None:
    """Deletes these files, except those that were stored again. A missing file is no error.

    Raises `Unavailable`, and `Conflict` while a legal hold of any project is in force: nothing tells whose text a file
    has.
    """
    with transaction() as session:
        held = holds.of_all_projects(session)
    if files and held:
        raise Conflict(
            f"Legal holds are in force ({', '.join(sorted(held))}), and these files may have what they cover: delete "
            "them once the holds are released (`thumbwheel holds list`).",
            code="legal_hold",
        )
    for file in files:
        if file.sha256 is not None:
            artifacts.delete(file.sha256, untouched_since=file.touched)
        elif file.upload is not None:
            artifacts.delete_named(file.upload)


def _uploads(before: datetime) -> list[Leftover]:
    """Returns the uploads that arrived before this time, whole or in part, and that no import needs."""
    old = {name: facts for name, facts in artifacts.kept_uploads().items() if facts[1] < before}
    with transaction() as session:
        needed = imports.with_file(session) if old else set()
    return [
        Leftover(upload=name, size=size, touched=touched.astimezone(UTC))
        for name, (size, touched) in old.items()
        if name not in needed
    ]
