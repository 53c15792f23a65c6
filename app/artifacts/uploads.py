"""Files that clients upload, by the id of what they are for. They are kept apart from the files by hash: nobody else
names them, so that one can be deleted when its work is done.
"""

import hashlib
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, Any
from uuid import UUID

from app.artifacts.faults import StoreUnusable, explained
from app.artifacts.files import (
    ASIDE_SECONDS,
    CHUNK,
    READ_AHEAD,
    file_system_and_root,
    flush_to_disk,
    in_folder,
    location,
)
from app.artifacts.files import gone as store_is_gone
from app.durable import flush
from app.errors import NotFound

#: Space that an upload leaves to others on the store's disk.
SPARED_BYTES = 1 << 30
#: Bytes after which the space is looked at again.
LOOK_EVERY_BYTES = 64 * CHUNK
_PART = ".part"


class Upload:
    """A file that arrives in pieces. It is in the store once `keep` returns, and leaves nothing behind before that.

    announced  its size in bytes, as far as it is known

    Each method raises `Unavailable`, as `StoreUnusable` if the disk is full or has too little space.
    """

    def __init__(self, upload_id: UUID, announced: int = 0) -> None:
        file_system, root = file_system_and_root()
        self._file_system = file_system
        self._target = _path(root, upload_id)
        self._digest = hashlib.sha256()
        self.size = 0
        self._looked_at = 0
        with explained("take an upload", location(), missing=store_is_gone):
            if in_folder():
                Path(self._target).parent.mkdir(parents=True, exist_ok=True)
                _sweep(Path(self._target).parent)
                _require_space(root, announced)
                self._file: IO[bytes] = Path(self._target + _PART).open("wb")  # noqa: SIM115 - closed by keep, discard
            else:
                self._file = file_system.open(self._target, "wb", block_size=READ_AHEAD)

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def write(self, piece: bytes) -> None:
        """Appends to the file."""
        with explained("take an upload", location(), missing=store_is_gone):
            if in_folder() and self.size - self._looked_at > LOOK_EVERY_BYTES:
                self._looked_at = self.size
                _require_space(str(Path(self._target).parent), 0)
            self._file.write(piece)
        self._digest.update(piece)
        self.size += len(piece)

    def keep(self) -> None:
        """Puts the file into the store."""
        with explained("take an upload", location(), missing=store_is_gone):
            if in_folder():
                flush_to_disk(self._file)
                self._file.close()
                Path(self._target + _PART).replace(self._target)
                flush(Path(self._target).parent)
            else:
                self._file.close()

    def discard(self) -> None:
        """Drops what has arrived, also after `keep`."""
        with explained("drop an upload", location(), missing=lambda: None):
            if in_folder():
                self._file.close()
                Path(self._target + _PART).unlink(missing_ok=True)
                Path(self._target).unlink(missing_ok=True)
            elif self._file.closed:
                self._file_system.rm_file(self._target)
            else:
                # fsspec would store on close what has arrived.
                self._file.discard()  # type: ignore[attr-defined]
                self._file.closed = True  # type: ignore[misc]


@contextmanager
def local_upload(upload_id: UUID, folder: Path) -> Iterator[Path]:
    """Provides an upload as a local file, downloaded to `folder` from a bucket. Raises `NotFound`, `Unavailable`."""
    file_system, root = file_system_and_root()
    path = _path(root, upload_id)
    with explained("give an upload", location(), missing=lambda: _missing(upload_id)):
        if in_folder():
            Path(path).stat()
            local = Path(path)
        else:
            with NamedTemporaryFile(dir=folder, delete=False) as file:
                local = Path(file.name)
            file_system.get_file(path, str(local))
    yield local


def delete_upload(upload_id: UUID) -> None:
    """Deletes an upload; a missing one is no error. Raises `Unavailable`."""
    file_system, root = file_system_and_root()
    with explained("delete an upload", location(), missing=lambda: None):
        file_system.rm_file(_path(root, upload_id))


def kept_uploads() -> dict[str, tuple[int, datetime]]:
    """Returns the uploads by name, with size and time. A name is an id, with `.part` if a killed process left it.

    Raises `Unavailable`.
    """
    file_system, root = file_system_and_root()
    with explained("list its uploads", location(), missing=lambda: None):
        found = file_system.find(_folder(root), detail=True)
    return {path.rpartition("/")[2]: (info["size"], _time_of(info)) for path, info in found.items()}


def delete_named(name: str) -> None:
    """Deletes an upload by a name that `kept_uploads` gave; a missing one is no error. Raises `Unavailable`."""
    file_system, root = file_system_and_root()
    with explained("delete an upload", location(), missing=lambda: None):
        file_system.rm_file(f"{_folder(root)}/{name}")


def _folder(root: str) -> str:
    return f"{root}/uploads"


def _path(root: str, upload_id: UUID) -> str:
    return f"{_folder(root)}/{upload_id}"


def _sweep(folder: Path) -> None:
    """Deletes what killed processes left of uploads."""
    oldest = datetime.now(UTC) - timedelta(seconds=ASIDE_SECONDS)
    for left in folder.glob(f"*{_PART}"):
        try:
            if datetime.fromtimestamp(left.stat().st_mtime, UTC) < oldest:
                left.unlink()
        except FileNotFoundError:
            continue


def _require_space(folder: str, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < size + SPARED_BYTES:
        raise StoreUnusable(
            f"The disk of the artifact store has {free / 1e9:,.1f} GB left, which is too little for this file: free "
            "some space there, or move the store and set THUMBWHEEL_ARTIFACTS_URL.",
            code="disk_full",
        )


def _time_of(info: Mapping[str, Any]) -> datetime:
    time = info.get("LastModified", info.get("mtime"))
    return datetime.fromtimestamp(time, UTC) if isinstance(time, int | float) else time or datetime.now(UTC)


def _missing(upload_id: UUID) -> NotFound:
    return NotFound(f"The artifact store has no upload {upload_id}: upload the file again.", code="upload_missing")
