"""Working folders of ended runs: they go where they hold what was erased, and all of them after a while. Until then
they stay, to be looked into, and for a retry to continue from. Of several attempts of a run, the newest one's folder
stays.
"""

import logging
import shutil
from datetime import timedelta
from pathlib import Path
from uuid import UUID

from app import settings
from app.database import now, transaction
from app.privacy.lineage import service as lineage
from app.runs import service as runs
from worker.staging.attempt_folders import drop_earlier, staged_folders

log = logging.getLogger(__name__)


def sweep() -> None:
    """Of this machine. Raises `Unavailable`."""
    folders = {run_id: path for path in _folders() if (run_id := _run_id(path.name)) is not None}
    if not folders:
        return
    for folder in folders.values():
        # A worker that was frozen may have come back to a folder that was removed.
        for newest in staged_folders(folder)[:1]:
            if newest != folder:
                drop_earlier(newest)
    with transaction() as session:
        redacted = lineage.ended_on_redacted(session, folders)
        days = settings.current().work_days
        old = runs.ended_before(session, folders, now() - timedelta(days=days))
    reasons = dict.fromkeys(old, f"it ended more than {days:g} days ago")
    reasons |= dict.fromkeys(redacted, "rows of its snapshot were erased")
    for run_id, reason in reasons.items():
        log.info("run %s: its working folder goes, as %s", run_id, reason)
        shutil.rmtree(folders[run_id], ignore_errors=True)


def _folders() -> list[Path]:
    work_dir = settings.current().work_dir
    return list(work_dir.iterdir()) if work_dir.is_dir() else []


def _run_id(name: str) -> UUID | None:
    try:
        return UUID(name)
    except ValueError:
        return None
