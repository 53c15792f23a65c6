"""Folders that belong to one process at a time: the data folder of a server, and temporary ones."""

import fcntl
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from app.errors import Conflict, Invalid, Unavailable
from app.services.processes import first_closed_to, living_in, server_user, wait_until

LOCK = "lock"
TEMPORARY = "thumbwheel-"
SETTLED_SECONDS = 60
LEAST_FREE_BYTES = 200 * 1024**2  # a new Postgres cluster takes 40 MB, and each segment of its log 16 MB


def make(folder: Path) -> None:
    """Creates `folder` and its parents. If we are root, the user that servers run as may pass through them.

    Raises `Unavailable` if that fails.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        for path in reversed(missing):
            path.mkdir(exist_ok=True)
            path.chmod(0o711 if server_user() else 0o700)
        if not folder.is_dir():
            raise NotADirectoryError(20, "Not a directory")
    except OSError as error:
        raise Unavailable(
            f"The folder {folder} cannot be created ({error.strerror}): choose another one.", code="folder_unusable"
        ) from error


def check_usable(folder: Path) -> None:
    """Raises `Invalid` if the user of a server may not enter `folder`, and `Unavailable` if the disk is full."""
    user = server_user()
    closed = first_closed_to(user, folder) if user else None
    if closed:
        raise Invalid(
            f"As root, servers run as the user {user}, who may not enter {closed}: choose a folder outside of it, "
            "for example /var/lib/thumbwheel.",
            code="folder_closed",
        )
    free = shutil.disk_usage(folder).free
    if free < LEAST_FREE_BYTES:
        raise Unavailable(
            f"Only {free // 1024**2} MB are free in {folder}, {LEAST_FREE_BYTES // 1024**2} MB are needed: free some "
            "space, or choose another folder.",
            code="disk_full",
        )


@contextmanager
def claimed(folder: Path) -> Iterator[Path]:
    """Claims `folder`, created if absent, for this process while the block lasts.

    Raises `Conflict` if another process has claimed it, `Unavailable` if it cannot be written to. The kernel drops the
    claim with the process, however the process ends.
    """
    make(folder)
    try:
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Unavailable(
            f"The folder {folder} cannot be written to ({error.strerror}): choose another one.", code="folder_unusable"
        ) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 20, 0).decode() or "unknown"
            raise Conflict(
                f"The folder {folder} is in use by process {holder}: stop that one, or choose another folder.",
                code="folder_in_use",
            ) from None
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield folder
    finally:
        os.close(descriptor)


@contextmanager
def temporary() -> Iterator[Path]:
    """Yields a claimed temporary folder and removes it afterwards. Also removes the folders of killed processes."""
    sweep()
    folder = Path(tempfile.mkdtemp(prefix=TEMPORARY))
    try:
        if server_user():
            folder.chmod(0o711)
        with claimed(folder):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep() -> None:
    """Removes our temporary folders that are not claimed and that no process works in."""
    for folder in Path(tempfile.gettempdir()).glob(f"{TEMPORARY}*/"):
        with suppress(OSError, Conflict, Unavailable):
            stat = folder.stat()
            # A folder without a lock is new, or a process wrote to it during its removal.
            settled = (folder / LOCK).exists() or time.time() - stat.st_mtime > SETTLED_SECONDS
            if settled and stat.st_uid == os.geteuid():
                _remove_deserted(folder)


def _remove_deserted(folder: Path) -> None:
    with claimed(folder):
        # Servers of a killed process are about to end.
        if wait_until(lambda: not living_in(folder), 5):
            shutil.rmtree(folder, ignore_errors=True)


def secret(path: Path) -> str:
    """Returns the random secret in the file `path`, readable only by us; the first call creates it."""
    with suppress(FileNotFoundError):
        return path.read_text()
    aside = path.with_suffix(".new")
    value = secrets.token_urlsafe(24)
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(descriptor, value.encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    aside.replace(path)
    return value


def give_to_server(path: Path) -> None:
    """Makes the user that servers run as the owner of `path`."""
    user = server_user()
    if user:
        shutil.chown(path, user)
