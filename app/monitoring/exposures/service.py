"""Counts exposures, the outputs that a release gave: registered completions of its checkpoint, received in its period.

The loop counts new ones in bounded parts. A product that registers no completions has no exposures, and no figure that
needs them.
"""

from collections.abc import Mapping, Sequence

from sqlalchemy.orm import Session

from app.feedback import service as feedback
from app.monitoring.exposures import store
from app.monitoring.exposures.outputs import Outputs
from app.releases.periods import Period

#: Values of one key that have a row; further ones are known only as the rest.
MOST_VALUES = 200
#: Completions that are read in one transaction.
LOOKED_AT = 50_000


def count(session: Session, project: str, periods: Sequence[Period], keys: Sequence[str]) -> None:
    """Counts the completions since the last call, up to `LOOKED_AT`; all of them again if the keys have changed."""
    before = store.counted(session, project)
    done = before is not None and before.complete and before.keys == list(keys)
    if done and not store.any_after(session, project, before.position if before else 0):
        return
    watermark = feedback.watermark(session, project)
    row = store.locked(session, project, keys)
    store.count_part(session, row, periods, watermark, limit=LOOKED_AT, most_values=MOST_VALUES)


def of_releases(
    session: Session, project: str, numbers: Sequence[int], keys: Sequence[str]
) -> Mapping[int, Outputs] | None:
    """Returns the exposures of these releases, as far as there are any; None until all completions are counted."""
    row = store.counted(session, project)
    if row is None or not row.complete or row.keys != list(keys):
        return None
    found: dict[int, Outputs] = {}
    for cell in store.of_releases(session, project, numbers):
        of = found.setdefault(cell.release_number, Outputs())
        if cell.key:
            of.values.setdefault(cell.key, {})[cell.value] = cell.completions
        else:
            of.total = cell.completions
    return found


def forget(session: Session, project: str) -> bool:
    """Deletes the counts, which may contain values of erased completions; the loop counts the others again. Returns
    whether there were any values.
    """
    row = store.counted(session, project)
    store.forget(session, project)
    return bool(row and row.keys)
