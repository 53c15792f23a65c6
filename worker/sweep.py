"""Working folders of ended runs that hold what was erased: they go. Others stay, to be looked into."""

import logging
import shutil
from pathlib import Path
from uuid import UUID

from app import settings
from app.database import transaction
from app.privacy.lineage import service as lineage

log = logging.getLogger(__name__)


def sweep() -> None:
    """Of this machine. Raises `Unavailable`."""
    folders = {run_id: path for path in _folders() if (run_id := _run_id(path.name)) is not None}
    if not folders:
        return
    with transaction() as session:
        redacted = lineage.ended_on_redacted(session, folders)
    for run_id in redacted:
        log.info("run %s: its working folder goes, as rows of its snapshot were erased", run_id)
        shutil.rmtree(folders[run_id], ignore_errors=True)


def _folders() -> list[Path]:
    work_dir = settings.current().work_dir
    return list(work_dir.iterdir()) if work_dir.is_dir() else []


def _run_id(name: str) -> UUID | None:
    try:
        return UUID(name)
    except ValueError:
        return None
