"""Files of the artifact store that no row names. A worker that is killed between storing and registering leaves some:
they take room, and may hold words of somebody who is erased since.
"""

from datetime import UTC, datetime, timedelta

from pydantic import BaseModel

from app import artifacts
from app.database import now, transaction
from app.errors import Invalid
from app.privacy.leftovers import store
from app.snapshots.files.parquet import CARD, MANIFEST

#: Files are stored long before their rows are written; what is younger may still get one.
LEAST_DAYS = 1
AT_ONCE = 1000


class Leftover(BaseModel):
    """`size` in bytes; `touched`: when somebody stored it last."""

    sha256: str
    size: int
    touched: datetime


def leftovers(days: float) -> list[Leftover]:
    """Files that nobody stored again for so many days, and that no row of this database names; the oldest first.

    Raises `Invalid` for fewer than `LEAST_DAYS`, `Unavailable` where the store or the database is away.
    """
    if days < LEAST_DAYS:
        raise Invalid(
            f"--days is {days:g}: it is at least {LEAST_DAYS}, as younger files may belong to a run that goes on.",
            code="leftovers_too_young",
        )
    before = now() - timedelta(days=days)
    old = [
        Leftover(sha256=one.sha256, size=one.size, touched=one.touched.astimezone(UTC))
        for one in artifacts.stored()
        if one.touched < before
    ]
    found = []
    with transaction() as session:
        for start in range(0, len(old), AT_ONCE):
            part = old[start : start + AT_ONCE]
            named = store.named(session, [one.sha256 for one in part], kept=(MANIFEST, CARD))
            found += [one for one in part if one.sha256 not in named]
    return sorted(found, key=lambda one: (one.touched, one.sha256))


def remove(found: list[Leftover]) -> None:
    """Delete them, but for those that somebody has stored again since. Again is no error. Raises `Unavailable`."""
    for one in found:
        artifacts.delete(one.sha256, untouched_since=one.touched)
