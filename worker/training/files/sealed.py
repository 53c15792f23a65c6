"""Files sealed by the SHA-256 of their content, so that damage is noticed before a file is used.

A seal has one line `<sha256>  <path>` per file, as `sha256sum` writes them and `sha256sum --check` reads them. The seal
of NAME, a file or a folder, is NAME.sha256 in the same folder. When a sealed file is replaced, the old seal is removed
first and the new seal is written last, each flushed to disk: a kill in between leaves a file without a seal.

    input   prepared by another program   without a seal: used as it is   damaged: refused
    cache   can be rebuilt by the run     without a seal: rebuilt         damaged: rebuilt, with a warning in the log

A large file is hashed once per attempt, before its first use.
"""

import hashlib
import logging
import re
from collections.abc import Iterable
from pathlib import Path

from app.durable import flush, sha256_of, write_atomically

log = logging.getLogger(__name__)

SUFFIX = ".sha256"
LINE = re.compile(r"([0-9a-f]{64})  ([^\n]+)\n")
LIST = re.compile(rf"({LINE.pattern})+")


class DamagedFile(Exception):
    """A sealed file is missing or differs from its seal, or a seal cannot be read."""

    def __init__(self, path: Path, fault: str) -> None:
        super().__init__(f"{path} is damaged ({fault})")
        self.path, self.fault = path, fault


def seal_of(path: Path) -> Path:
    """Returns the path of the seal of a file or a folder."""
    return path.with_name(path.name + SUFFIX)


def write_sealed(path: Path, content: bytes) -> None:
    """Writes a file and its seal."""
    unseal(path)
    write_atomically(path, content)
    _write(seal_of(path), {path.name: hashlib.sha256(content).hexdigest()})


def replace_sealed(temporary: Path, path: Path) -> None:
    """Renames a complete temporary file to `path` and seals it."""
    digest = sha256_of(temporary)
    unseal(path)
    temporary.replace(path)
    flush(path.parent)
    _write(seal_of(path), {path.name: digest})


def write_seal(seal: Path, files: Iterable[Path]) -> dict[str, str]:
    """Seals files in the folder of the seal or below it. Returns the SHA-256 of each by its path."""
    digests = {str(path.relative_to(seal.parent)): sha256_of(path) for path in files}
    _write(seal, digests)
    return digests


def unseal(path: Path) -> None:
    """Removes the seal of a file or a folder that is about to be replaced."""
    seal = seal_of(path)
    if seal.exists():
        seal.unlink()
        flush(seal.parent)


def sums(seal: Path) -> dict[str, str] | None:
    """Returns the SHA-256 of each sealed file by its path, or None without a seal. Raises `DamagedFile`."""
    try:
        text = seal.read_text("utf-8")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        text = ""
    if LIST.fullmatch(text) is None:
        raise DamagedFile(seal, "it is not a list of SHA-256 sums")
    return {name: digest for digest, name in LINE.findall(text)}


def verify(seal: Path) -> bool:
    """Verifies all files of a seal; returns False without a seal. Raises `DamagedFile`."""
    expected = sums(seal)
    for name, digest in (expected or {}).items():
        _require(seal.parent / name, digest)
    return expected is not None


def read(path: Path) -> bytes:
    """Returns the content of an input, verified if it is sealed. Raises `DamagedFile` and `FileNotFoundError`."""
    content = path.read_bytes()
    expected = sums(seal_of(path))
    if expected is not None and hashlib.sha256(content).hexdigest() != expected.get(path.name):
        raise DamagedFile(path, "its content differs from its SHA-256")
    return content


def is_sound(path: Path) -> bool:
    """Returns whether a cache exists and is sealed and undamaged. Logs damage."""
    try:
        return path.exists() and verify(seal_of(path))
    except DamagedFile as damage:
        _log(damage)
        return False


def read_cache(path: Path) -> bytes | None:
    """Returns the content of a cache, or None if it must be rebuilt. Logs damage."""
    try:
        return read(path) if seal_of(path).exists() else None
    except FileNotFoundError:
        return None
    except DamagedFile as damage:
        _log(damage)
        return None


def _log(damage: DamagedFile) -> None:
    log.warning("%s: it is rebuilt; check this disk for faults", damage)


def _require(path: Path, digest: str) -> None:
    try:
        actual = sha256_of(path)
    except FileNotFoundError:
        raise DamagedFile(path, "it is missing") from None
    except OSError as error:
        raise DamagedFile(path, f"it cannot be read: {error.strerror}") from None
    if actual != digest:
        raise DamagedFile(path, "its content differs from its SHA-256")


def _write(seal: Path, digests: dict[str, str]) -> None:
    write_atomically(seal, "".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items())).encode())
