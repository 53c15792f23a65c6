"""Writes durable files and folders, which are complete on the disk or not there, even after a crash."""

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a file under a temporary name, flushes it and renames it.

    An error, such as a full disk, leaves no file.
    """
    temporary = path.with_name(f".{path.name}.part")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    flush(path.parent)


@contextmanager
def folder_atomically(path: Path) -> Iterator[Path]:
    """Yields an empty folder that replaces `path`, flushed to disk, when the block ends without an error.

    An error leaves no folder. The files get the permissions of the umask. An earlier folder at `path` is also replaced
    as a whole, not file by file.
    """
    temporary, retired = path.with_name(f".{path.name}.part"), path.with_name(f".{path.name}.old")
    for leftover in (temporary, retired):
        shutil.rmtree(leftover, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        # Some libraries write files that only their owner may read, and servers of other users load the folder.
        mode = temporary.stat().st_mode & 0o666
        for file in sorted(temporary.rglob("*")):
            if file.is_file():
                file.chmod(mode)
            flush(file)  # a full disk may show only now
        flush(temporary)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    if path.exists():
        path.replace(retired)
    temporary.replace(path)
    flush(path.parent)
    shutil.rmtree(retired, ignore_errors=True)


def flush(path: Path) -> None:
    """Flushes a file, or a folder's list of names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_of(path: Path) -> str:
    """Returns the SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
