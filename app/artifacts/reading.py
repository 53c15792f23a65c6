"""Reads files of the store and verifies their hashes: a file that does not match its name is never read to its end."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from uuid import uuid4

from app.artifacts.faults import DamagedArtifact, explained
from app.artifacts.files import CHUNK, flush_to_disk, location, open_stream, why_missing


@dataclass(frozen=True)
class OpenFile:
    """A file of the store and its length there."""

    sha256: str
    size: int
    file: IO[bytes]

    def close(self) -> None:
        self.file.close()

    def chunks(self) -> Iterator[bytes]:
        """Yields the bytes of the file, the last chunk only after the length and the hash of the whole are verified.

        Raises `DamagedArtifact` instead of the last chunk if either is wrong, and `Unavailable`.
        """
        digest = hashlib.sha256()
        held, length = b"", 0
        while chunk := self._read():
            digest.update(chunk)
            length += len(chunk)
            if length > self.size:
                break
            if held:
                yield held
            held = chunk
        if length != self.size:
            raise _damaged(self.sha256, f"gave {length:,} bytes of {self.size:,}")
        if digest.hexdigest() != self.sha256:
            raise _damaged(self.sha256, "has another content than its name says")
        if held:
            yield held

    def _read(self) -> bytes:
        # A failure in this block is the store's, not one of the code that takes the bytes.
        with explained("give a file", location(), missing=lambda: why_missing(self.sha256)):
            return self.file.read(CHUNK)


def open_verified(sha256: str) -> OpenFile:
    """Opens the file for verified reading. Raises `NotFound`, `Unavailable`."""
    file = open_stream(sha256)
    try:
        with explained("give a file", location(), missing=lambda: why_missing(sha256)):
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
    except BaseException:
        file.close()
        raise
    return OpenFile(sha256, size, file)


def verify(sha256: str) -> None:
    """Reads all of the file to verify it. Raises `NotFound`, `DamagedArtifact`, `Unavailable`."""
    source = open_verified(sha256)
    try:
        for _ in source.chunks():
            pass
    finally:
        source.close()


def fetch(sha256: str, destination: Path) -> None:
    """Copies the file to `destination` and verifies it; leaves nothing there on an error.

    Raises `NotFound` if the store has no such file, `DamagedArtifact` if its content does not match, `Unavailable` if
    the store cannot be read, and `OSError` if this machine cannot write the file.
    """
    destination.parent.mkdir(parents=True, exist_ok=True)
    source = open_verified(sha256)
    aside = destination.with_name(f".{destination.name}.{uuid4().hex}")
    try:
        with aside.open("wb") as sink:
            for chunk in source.chunks():
                sink.write(chunk)
            flush_to_disk(sink)
        aside.rename(destination)
    finally:
        source.close()
        aside.unlink(missing_ok=True)


def _damaged(sha256: str, fault: str) -> DamagedArtifact:
    return DamagedArtifact(f"The artifact {sha256} {fault}: restore it from a backup.", code="artifact_damaged")
