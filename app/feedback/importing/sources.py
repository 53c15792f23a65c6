"""Finds the files of an argument: a file, a folder, the members of a zip archive, stdin, an object or folder on S3."""

import gzip
import io
import lzma
import shutil
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

from app.errors import Invalid
from app.feedback.importing.printable import printable

READ_BYTES = 1 << 18
_GZIP, _ZIP = b"\x1f\x8b", b"PK\x03\x04"
_ENCRYPTED = 1
#: What reading a file raises; `NotImplementedError`: compressed in a way that zipfile does not know.
_UNREADABLE = (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, NotImplementedError)
_WORKBOOK = "xl/workbook.xml"


@dataclass(frozen=True)
class Source:
    """A file of records.

    name   the name for messages
    part   whether it was found in a folder or an archive: files there that hold no records are passed over
    key    changes with the content of the file, as far as size and time tell; None if nothing tells
    size   in bytes, as far as it is known: of a member of an archive, the compressed size
    local  provides its path, after a download where one is needed
    remote whether it is downloaded for each time that it is opened
    most   bytes of content, decompressed, that may be read of it; None for any number
    """

    name: str
    size: int
    key: str | None
    part: bool
    local: Callable[[], AbstractContextManager[Path]]
    member: zipfile.ZipInfo | None = None
    remote: bool = False
    most: int | None = None

    @contextmanager
    def open(self) -> Iterator[tuple[BinaryIO, Callable[[], int]]]:
        """Provides the content, decompressed, and a function that tells how many bytes of `size` were read.

        Raises `Invalid` if the file cannot be read; also while it is being read, where it breaks off.
        """
        try:
            with self.local() as path, path.open("rb", buffering=0) as raw:
                file: BinaryIO = io.BufferedReader(raw, READ_BYTES)
                if self.member is None:
                    with self._decompressed(file) as content:
                        yield content, raw.tell
                elif self.member.flag_bits & _ENCRYPTED:
                    raise Invalid(f"{self.name} is encrypted: decrypt it first.", code="file_unreadable")
                else:
                    with zipfile.ZipFile(file) as archive, archive.open(self.member) as entry:
                        whole = max(1, self.member.file_size)
                        with self._decompressed(self._bounded(cast(BinaryIO, entry))) as content:
                            yield content, lambda: self.size * entry.tell() // whole
        except _UNREADABLE as error:
            raise Invalid(f"Cannot read {self.name}: {error}.", code="file_unreadable") from error

    def require_whole(self) -> None:
        """Raises `Invalid` if the file is compressed and cut off or damaged, before anything of it is used."""
        with self.open() as (content, _):
            if not isinstance(content, io.BufferedReader) or isinstance(content.raw, _BoundedContent):
                while content.read(READ_BYTES):
                    pass

    @contextmanager
    def _decompressed(self, file: BinaryIO) -> Iterator[BinaryIO]:
        zipped = file.read(len(_GZIP)) == _GZIP
        file.seek(0)
        if not zipped:
            yield file
            return
        with gzip.GzipFile(fileobj=file, mode="rb") as content:
            yield self._bounded(cast(BinaryIO, content))

    def _bounded(self, content: BinaryIO) -> BinaryIO:
        """Returns decompressed content that raises `Invalid` beyond `most` bytes."""
        if self.most is None:
            return content
        return io.BufferedReader(_BoundedContent(content, self.most, self.name), READ_BYTES)


class _BoundedContent(io.RawIOBase):
    """Decompressed content of at most `most` bytes: a small file may hold terabytes."""

    def __init__(self, content: BinaryIO, most: int, name: str) -> None:
        self._content = content
        self._most = most
        self._name = name

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._content.seekable()

    def readinto(self, buffer: Any) -> int:
        read = self._content.read(len(buffer))
        if self._content.tell() > self._most:
            raise Invalid(
                f"{self._name} holds over {self._most:,} bytes, decompressed: split it into several files.",
                code="file_too_large",
            )
        buffer[: len(read)] = read
        return len(read)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._content.seek(offset, whence)

    def tell(self) -> int:
        return self._content.tell()


def sources_of(argument: str, folder: Path) -> list[Source]:
    """Returns the files that an argument names, in the order of their names.

    folder  for the content of stdin and of objects on S3

    Raises `Invalid` if there are none, or they cannot be read.
    """
    if argument == "-":
        return [_local(_stdin_in(folder), "stdin", key=None)]
    if "://" in argument:
        from app.feedback.importing.remote import remote_sources

        return remote_sources(argument, folder)
    path = Path(argument)
    if not path.is_dir():
        return in_file(path, path.name)
    found = sorted(file for file in path.rglob("*") if file.is_file() and not _is_hidden(file.relative_to(path)))
    sources = [
        source
        for file in found
        for source in in_file(file, str(PurePosixPath(path.name, file.relative_to(path))), part=True)
    ]
    if not sources:
        raise Invalid(f"{argument} is a folder without files: name one that has some.", code="file_unreadable")
    return sources


def in_file(path: Path, name: str, *, part: bool = False, most: int | None = None) -> list[Source]:
    """Returns the file, or the members of an archive. `most`: bytes of content that may be read of each."""
    try:
        with path.open("rb") as file:
            zipped = file.read(len(_ZIP)) == _ZIP
        if not zipped:
            return [replace(_local(path, name, part=part), most=most)]
        with zipfile.ZipFile(path) as archive:
            members = [entry for entry in archive.infolist() if not entry.is_dir() and not _is_hidden(entry.filename)]
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError) as error:
        raise Invalid(f"Cannot read {name}: {error}.", code="file_unreadable") from error
    if any(entry.filename == _WORKBOOK for entry in members):
        raise Invalid(f"{name} is an Excel workbook: save the table as CSV UTF-8.", code="file_not_understood")
    if not members:
        raise Invalid(f"{name} is an archive without files: there is nothing to import.", code="file_not_understood")
    return [
        Source(
            printable(f"{name}/{entry.filename}"),
            entry.compress_size,
            _key(path),
            part=True,
            local=lambda: _as_it_is(path),
            member=entry,
            most=most,
        )
        for entry in sorted(members, key=lambda entry: entry.filename)
    ]


def _local(path: Path, name: str, *, part: bool = False, key: str | None = "") -> Source:
    try:
        size = path.stat().st_size
    except OSError as error:
        raise Invalid(f"Cannot read {path}: {error}.", code="file_unreadable") from error
    return Source(name, size, _key(path) if key == "" else key, part=part, local=lambda: _as_it_is(path))


def _key(path: Path) -> str:
    facts = path.stat()
    return f"{path.resolve()} {facts.st_size} {facts.st_mtime_ns}"


@contextmanager
def _as_it_is(path: Path) -> Iterator[Path]:
    yield path


def _stdin_in(folder: Path) -> Path:
    """Returns a file with the content of stdin, since every file is read more than once."""
    path = folder / "stdin"
    if not path.exists():
        with path.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
    return path


def _is_hidden(name: Path | str) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in Path(name).parts)
