"""Files that a kill cannot leave half-written, and the hashes that they are known by."""

import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType


def write_atomically(path: Path, content: bytes) -> None:
    """Under a temporary name, flushed to disk, then renamed. Where that fails, on a full disk say, nothing is left."""
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
    sync(path.parent)


@contextmanager
def folder_atomically(path: Path) -> Iterator[Path]:
    """Yields an empty folder that takes the place of `path`, flushed to disk, once the block ends without an error.

    Else nothing is left of it. Its files have the permissions that the umask leaves. What was at `path` before goes
    whole, too, not file by file.
    """
    temporary, retired = path.with_name(f".{path.name}.part"), path.with_name(f".{path.name}.old")
    for leftover in (temporary, retired):
        shutil.rmtree(leftover, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        # Some libraries write files that only their owner may read: the servers that load the folder run as others.
        mode = temporary.stat().st_mode & 0o666
        for file in sorted(temporary.rglob("*")):
            if file.is_file():
                file.chmod(mode)
            sync(file)  # a disk may say only now that it is full
        sync(temporary)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    if path.exists():
        path.replace(retired)
    temporary.replace(path)
    sync(path.parent)
    shutil.rmtree(retired, ignore_errors=True)


def sync(path: Path) -> None:
    """Flush a file or a folder's list of names to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def weights_fingerprint(folder: Path, known: Mapping[str, str] = MappingProxyType({})) -> str | None:
    """SHA-256 of the folder's weights, or None where it has none in safetensors files.

    known   the SHA-256 of files whose content is not read again, by their names

    One weight file: the hash of that file. Several: the hash of the sorted lines ``<sha256>  <name>``. An adapter's
    and a model's fingerprint are made alike, so what training.json calls weights_sha256 is the next job's fingerprint.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        return None
    digests = {file.name: known.get(file.name) or sha256_of(file) for file in files}
    if len(digests) == 1:
        return digests[files[0].name]
    lines = "".join(f"{digest}  {name}\n" for name, digest in digests.items())
    return hashlib.sha256(lines.encode()).hexdigest()
