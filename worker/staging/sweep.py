"""Removes the working folders of ended runs, at once if they hold erased data, otherwise after some days.

Until then they remain for a diagnosis and for a retry, which continues from them. If a run had several attempts, only
the folder of the newest one remains.
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
    """Removes the working folders on this machine that are no longer needed. Raises `Unavailable`."""
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
        log.info("run %s: its working folder is removed, as %s", run_id, reason)
        shutil.rmtree(folders[run_id], ignore_errors=True)


def _folders() -> list[Path]:
    work_dir = settings.current().work_dir
    return list(work_dir.iterdir()) if work_dir.is_dir() else []


def _run_id(name: str) -> UUID | None:
    try:
        return UUID(name)
    except ValueError:
        return None
