"""Stores files by the SHA-256 of their content in a folder, or in a bucket of S3 or another object store of fsspec.

A stored file is complete or not there. In a folder it is written under a temporary name, flushed to disk and renamed;
an object store shows an object only after all of it has arrived. The same content is stored once. `reading` verifies
the hash.
"""

import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any
from uuid import uuid4

import fsspec
from fsspec.implementations.local import LocalFileSystem

from app import settings
from app.artifacts.faults import DamagedArtifact, StoreUnusable, explained
from app.durable import flush, sha256_of
from app.errors import NotFound, ThumbwheelError

CHUNK = 1 << 20
#: Bytes that are read ahead from a bucket; each open file holds this much in memory.
READ_AHEAD = 8 * CHUNK
#: A temporary file of this age was left by a process that died.
ASIDE_SECONDS = 24 * 3600


#: A file that is stored again within this time is not touched: it is too young to be taken for a leftover.
FRESH_SECONDS = 6 * 3600


@dataclass(frozen=True)
class Stored:
    sha256: str
    size: int


@dataclass(frozen=True)
class Kept(Stored):
    """A file in the store. `touched`: the time when it was stored last."""

    touched: datetime


def location() -> str:
    """Returns the location of the store for messages, without passwords of the URL."""
    file_system, root = file_system_and_root()
    return root if _is_folder(file_system) else file_system.unstrip_protocol(root)


def in_folder() -> bool:
    """Returns whether the store is a folder of this machine."""
    return _is_folder(file_system_and_root()[0])


def path_of(sha256: str) -> str:
    """Returns the path of the file inside the store."""
    return f"{file_system_and_root()[1]}/sha256/{sha256[:2]}/{sha256}"


def put(path: Path) -> Stored:
    """Stores the file at `path`. Raises `Unavailable` if the store cannot take it, and leaves no partial file.

    A stored file of another length, as a broken disk leaves it, is written again. So is a file that was stored long
    ago, which renews its age: no row may name it yet, and an old file without a row would be deleted.
    """
    stored = Stored(sha256_of(path), path.stat().st_size)
    file_system, root = file_system_and_root()
    target = path_of(stored.sha256)
    with explained(f"take {path.name}", location(), missing=gone):
        existing = _kept(file_system, target)
        if existing is not None and existing.size == stored.size and _is_fresh(existing):
            return stored
        if _is_folder(file_system):
            _put_in_folder(path, Path(target), Path(root) / "aside")
        else:
            file_system.put_file(str(path), target, chunksize=READ_AHEAD)
    return stored


def open_stream(sha256: str) -> IO[bytes]:
    """Opens the file without verifying it; the reader knows the hash. Raises `NotFound`, `Unavailable`."""
    file_system, _ = file_system_and_root()
    with explained("give a file", location(), missing=lambda: why_missing(sha256)):
        return file_system.open(path_of(sha256), "rb", block_size=READ_AHEAD)


def stored() -> list[Kept]:
    """Returns all files of the store. Raises `Unavailable`."""
    file_system, root = file_system_and_root()
    with explained("list its files", location(), missing=gone):
        files = file_system.find(f"{root}/sha256", detail=True)
    return [_kept_of(path, info) for path, info in files.items()]


def delete(sha256: str, *, untouched_since: datetime | None = None) -> None:
    """Deletes the file; a missing file is no error. Raises `Unavailable`.

    A bucket with versions keeps the old one: see `bucket_keeps_versions`.

    untouched_since  a file that was stored later than this stays
    """
    file_system, _ = file_system_and_root()
    path = path_of(sha256)
    with explained("delete a file", location(), missing=_store_is_gone):
        if untouched_since is not None:
            existing = _kept(file_system, path)
            if existing is None or existing.touched > untouched_since:
                return
        file_system.rm_file(path)
        if _is_folder(file_system):
            flush(Path(path).parent)


def try_out() -> None:
    """Writes, reads and deletes a small object to test the store's permissions. Raises `Unavailable`."""
    file_system, root = file_system_and_root()
    path, content = f"{root}/aside/{uuid4().hex}", b"thumbwheel doctor"
    with explained("be used", location(), missing=gone):
        file_system.pipe_file(path, content)
        try:
            read = file_system.cat_file(path)
        finally:
            file_system.rm_file(path)
    if read != content:
        raise DamagedArtifact(f"{location()} returns other bytes than were written.", code="artifact_damaged")


def bucket_keeps_versions() -> bool:
    """Returns whether deleted files stay in the bucket as old versions; False if the store cannot tell."""
    file_system, root = file_system_and_root()
    if not hasattr(file_system, "is_bucket_versioned"):
        return False
    with explained("say whether it keeps old versions", location(), missing=gone):
        return bool(file_system.is_bucket_versioned(_container(file_system, root)))


def file_system_and_root() -> tuple[Any, str]:
    """Returns the file system, of which fsspec keeps one per process, and the store's folder in it."""
    url = settings.current().artifacts
    try:
        file_system, root = fsspec.core.url_to_fs(url, use_listings_cache=False)
    except ImportError as error:
        protocol = url.partition("://")[0]
        extra = "pip install 'thumbwheel-server[s3]'" if protocol in ("s3", "s3a") else f"install it ({error})"
        raise StoreUnusable(
            f"THUMBWHEEL_ARTIFACTS_URL begins with {protocol}:// and its library is not installed: {extra}.",
            code="artifacts_unavailable",
        ) from error
    except ValueError as error:
        raise StoreUnusable(
            f"THUMBWHEEL_ARTIFACTS_URL names no store: {error}: give a folder or s3://bucket/prefix.",
            code="artifacts_unavailable",
        ) from error
    return file_system, root.rstrip("/")


def _is_folder(file_system: Any) -> bool:
    return isinstance(file_system, LocalFileSystem)


def _container(file_system: Any, root: str) -> str:
    """Returns the folder or the bucket, which must exist before a file can be stored."""
    return root if _is_folder(file_system) else root.split("/", 1)[0]


def _kept(file_system: Any, path: str) -> Kept | None:
    """Returns the file at `path`, or None without one."""
    try:
        return _kept_of(path, file_system.info(path))
    except FileNotFoundError:
        return None


def _kept_of(path: str, info: Mapping[str, Any]) -> Kept:
    """Returns the file for fsspec's `info`, whose time is a datetime for S3 and seconds since 1970 for a folder.

    The files of a store without times count as new.
    """
    time_of_change = info.get("LastModified", info.get("mtime"))
    touched = datetime.fromtimestamp(time_of_change, UTC) if isinstance(time_of_change, int | float) else time_of_change
    return Kept(path.rpartition("/")[2], info["size"], touched if touched is not None else datetime.now(UTC))


def _is_fresh(kept: Kept) -> bool:
    return (datetime.now(UTC) - kept.touched).total_seconds() < FRESH_SECONDS


def _put_in_folder(path: Path, target: Path, asides: Path) -> None:
    asides.mkdir(parents=True, exist_ok=True)
    _sweep(asides)
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = asides / uuid4().hex
    try:
        with path.open("rb") as source, aside.open("wb") as sink:
            shutil.copyfileobj(source, sink, CHUNK)
            flush_to_disk(sink)
        aside.replace(target)
        flush(target.parent)
    finally:
        aside.unlink(missing_ok=True)


def _sweep(asides: Path) -> None:
    """Deletes files of killed processes: they may hold texts that have been erased since."""
    for left in asides.iterdir():
        try:
            if left.stat().st_mtime < time.time() - ASIDE_SECONDS:
                left.unlink()
        except FileNotFoundError:
            continue  # its owner, or another sweep, was quicker


def flush_to_disk(sink: IO[bytes]) -> None:
    sink.flush()
    os.fsync(sink.fileno())


def why_missing(sha256: str) -> ThumbwheelError:
    """Returns the reason why the file is not there."""
    return _store_is_gone() or NotFound(
        f"The artifact store has no file {sha256}: restore it from a backup.", code="artifact_missing"
    )


def _store_is_gone() -> StoreUnusable | None:
    """Returns the error if the store itself is missing, else None."""
    file_system, root = file_system_and_root()
    with explained("be found", location(), missing=gone):
        if not file_system.exists(_container(file_system, root)):
            return gone()
    return None


def gone() -> StoreUnusable:
    file_system, root = file_system_and_root()
    container = _container(file_system, root)
    if _is_folder(file_system):
        what = f"folder {container} does not exist: is its disk mounted? Mount it"
    else:
        what = f"bucket {container} does not exist: make it"
    return StoreUnusable(f"The artifact store's {what}, or set THUMBWHEEL_ARTIFACTS_URL.", code="artifacts_unavailable")
