"""The working folders of runs: one for each attempt, named by the epoch of its lease.

    work/RUN/epoch-N    the folder of attempt N alone

Postgres gives an epoch to one worker, once, so no two processes ever write into the same folder. Neither a lock nor a
process id is needed: a worker that was frozen past its lease wakes in a folder that no longer counts. This holds across
containers and hosts, whether or not they share the data folder.
"""

import re
import shutil
from contextlib import suppress
from pathlib import Path
from uuid import UUID

from app import settings
from app.runs.leases.lease import Lease

STAGED = "job.json"  # written last: a folder that has it holds everything a trainer needs


def run_folder(run_id: UUID) -> Path:
    return settings.current().work_dir / str(run_id)


def workdir_of(lease: Lease) -> Path:
    """Returns the folder of the attempt that holds `lease`."""
    return run_folder(lease.run_id) / f"epoch-{lease.epoch}"


def epoch_of(folder: Path) -> int:
    """Returns the epoch of an attempt's folder; 0 for anything else, such as an older version's files."""
    match = re.fullmatch(r"epoch-(\d+)", folder.name)
    return int(match[1]) if match else 0


def staged_folders(run: Path, *, before: int | None = None) -> list[Path]:
    """Returns the completely staged folders of a run on this machine, newest attempt first.

    `before` limits them to lower epochs. The run's own folder, which earlier versions used, counts as the oldest one.
    """
    folders = sorted((path for path in run.glob("epoch-*") if epoch_of(path)), key=epoch_of, reverse=True)
    return [
        path
        for path in [*folders, run]
        if (path / STAGED).is_file() and (before is None or path == run or epoch_of(path) < before)
    ]


def drop_earlier(workdir: Path) -> None:
    """Removes the folders of earlier attempts, whose useful files `workdir` has taken over.

    A process that still works there fails at its next write and ends.
    """
    for path in list(workdir.parent.iterdir()):
        if epoch_of(path) < epoch_of(workdir):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                with suppress(OSError):
                    path.unlink()
