"""`PartialFile`: the part of a download that has arrived, which becomes the file once it is complete and verified."""

import hashlib
import os
import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Self
from uuid import uuid4

import httpx

from thumbwheel.client.retry_rules import if_safe
from thumbwheel.errors import ApiError, Damaged, successful

#: Called with the bytes that have arrived, and with their total if the server names it.
Progress = Callable[[int, int | None], None]


def inside(folder: Path, path: str) -> Path:
    """Returns the path of a file in `folder`. Raises `Damaged` for a path that leads out of it."""
    relative = PurePosixPath(path)
    if relative.is_absolute() or ".." in relative.parts or not relative.parts:
        raise Damaged(f"The server names a file outside of its folder: {path!r}.")
    return folder / relative


def sha256_of(path: Path) -> str:
    """Returns the SHA-256 of a file, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def worth_repeating(error: BaseException) -> bool:
    """The rule for downloads: 416 as well, since the next attempt requests the whole file."""
    return if_safe(error) or (isinstance(error, ApiError) and error.status == 416)


class PartialFile:
    """The part of a file that has arrived, in a file next to its target, with its hash so far."""

    def __init__(self, target: Path, sha256: str) -> None:
        self.target = target
        self.sha256 = sha256
        self.aside = target.with_name(f".{target.name}.{uuid4().hex}")
        self.most = 0  # bytes of the best attempt
        self._total: int | None = None  # bytes of the file, as the last response announced them
        self._sink = self.aside.open("wb")
        self._hash = hashlib.sha256()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        self._sink.close()
        self.aside.unlink(missing_ok=True)

    def headers(self) -> dict[str, str]:
        """Headers of the next request: uncompressed, and from the first missing byte on."""
        size = self._sink.tell()
        return {"Accept-Encoding": "identity", **({"Range": f"bytes={size}-"} if size else {})}

    def begin(self, response: httpx.Response) -> None:
        """Prepares for the content of a response, whose body has been read if it is an error.

        Raises what `successful` raises, `httpx.RemoteProtocolError` and `Damaged`.
        """
        if response.status_code == 416:  # the part does not belong to that file
            self._restart()
        successful(response)
        if response.status_code != 206:
            self._restart()
        elif not response.headers.get("Content-Range", "").startswith(f"bytes {self._sink.tell()}-"):
            self._restart()
            raise httpx.RemoteProtocolError("the server answered with another range than the requested one")
        self._require_same(response)
        length = response.headers.get("Content-Length", "")
        known = length.isdecimal() and "Content-Encoding" not in response.headers
        self._total = self._sink.tell() + int(length) if known else None

    def append(self, chunk: bytes, progress: Progress) -> None:
        """Appends a part of the content. Raises `Damaged`."""
        self._sink.write(chunk)
        self._hash.update(chunk)
        size = self._sink.tell()
        self.most = max(self.most, size)
        if self._total is not None and size > self._total:
            raise Damaged(f"{self.target.name} is longer than the {self._total:,} bytes that the server announced.")
        progress(size, self._total)

    def end(self) -> None:
        """Raises `httpx.RemoteProtocolError` if the content ended early."""
        if self._total is not None and self._sink.tell() != self._total:
            raise httpx.RemoteProtocolError(f"{self._sink.tell():,} of {self._total:,} bytes arrived")

    def finish(self) -> None:
        """Renames the file to its target, durably. Raises `Damaged`."""
        actual = self._hash.hexdigest()
        if actual != self.sha256:
            raise Damaged(f"{self.target.name} has SHA-256 {actual}, not {self.sha256} as registered: pull it again.")
        self._sink.flush()
        os.fsync(self._sink.fileno())
        self._sink.close()
        self.aside.replace(self.target)
        if os.name == "posix":  # elsewhere a folder cannot be opened
            folder = os.open(self.target.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def _restart(self) -> None:
        self._sink.seek(0)
        self._sink.truncate()
        self._hash = hashlib.sha256()

    def _require_same(self, response: httpx.Response) -> None:
        """Refuses a file with another ETag before it arrives: the API sends the SHA-256 as ETag."""
        etag = response.headers.get("ETag", "").strip('"')
        if re.fullmatch("[0-9a-f]{64}", etag) and etag != self.sha256:
            raise Damaged(f"The server has {self.target.name} with SHA-256 {etag}, not {self.sha256} as registered.")
