"""Files by the SHA-256 of their content, on any fsspec file system (a folder, S3).

A file is put aside under a temporary name, flushed to disk and renamed: it is there whole, or not at all. The same
content is stored once. Reading verifies the hash.
"""

import hashlib
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any
from uuid import uuid4

import fsspec

from app import settings
from app.errors import NotFound, Unavailable

CHUNK = 1 << 20


@dataclass(frozen=True)
class Stored:
    sha256: str
    size: int


class DamagedArtifact(Unavailable):
    pass


@cache
def _store() -> tuple[Any, str]:
    file_system, root = fsspec.core.url_to_fs(settings.current().artifacts)
    return file_system, root.rstrip("/")


def path_of(sha256: str) -> str:
    """Where the file lies inside the store."""
    return f"{_store()[1]}/sha256/{sha256[:2]}/{sha256}"


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def put(path: Path) -> Stored:
    """Store the file at `path`. Raises `Unavailable` when the store cannot take it; nothing half-written is left."""
    stored = Stored(sha256_of(path), path.stat().st_size)
    file_system, root = _store()
    target, aside = path_of(stored.sha256), f"{root}/aside/{uuid4().hex}"
    try:
        if file_system.exists(target):
            return stored
        file_system.makedirs(f"{root}/aside", exist_ok=True)
        file_system.makedirs(target.rsplit("/", 1)[0], exist_ok=True)
        try:
            with path.open("rb") as source, file_system.open(aside, "wb") as sink:
                while chunk := source.read(CHUNK):
                    sink.write(chunk)
                _flush_to_disk(sink)
            file_system.mv(aside, target)
        finally:
            if file_system.exists(aside):
                file_system.rm(aside)
    except OSError as error:
        raise Unavailable(
            f"The artifact store cannot take {path.name}: {error}.", code="artifacts_unavailable"
        ) from error
    return stored


def _flush_to_disk(sink: IO[bytes]) -> None:
    sink.flush()
    try:
        descriptor = sink.fileno()
    except (OSError, AttributeError):
        return  # not a local file: its store answers for durability
    os.fsync(descriptor)


def fetch(sha256: str, destination: Path) -> None:
    """Copy the file to `destination`, verified.

    Raises `NotFound` where the store has no such file, `DamagedArtifact` where its content is another.
    """
    file_system, _ = _store()
    destination.parent.mkdir(parents=True, exist_ok=True)
    aside = destination.with_name(f".{destination.name}.{uuid4().hex}")
    digest = hashlib.sha256()
    try:
        with file_system.open(path_of(sha256), "rb") as source, aside.open("wb") as sink:
            while chunk := source.read(CHUNK):
                digest.update(chunk)
                sink.write(chunk)
            _flush_to_disk(sink)
        if digest.hexdigest() != sha256:
            raise DamagedArtifact(
                f"The artifact {sha256} has another content than its name says: restore it from a backup.",
                code="artifact_damaged",
            )
        aside.rename(destination)
    except FileNotFoundError as error:
        raise NotFound(f"The artifact store has no file {sha256}.", code="artifact_missing") from error
    finally:
        aside.unlink(missing_ok=True)


def open_stream(sha256: str) -> IO[bytes]:
    """The file's bytes, not verified: the reader knows the hash. Raises `NotFound`."""
    file_system, _ = _store()
    try:
        return file_system.open(path_of(sha256), "rb")
    except FileNotFoundError as error:
        raise NotFound(f"The artifact store has no file {sha256}.", code="artifact_missing") from error
