"""Downloads checkpoint and snapshot files: a file is complete and verified, or does not exist."""

import hashlib
import os
import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Self
from uuid import uuid4

import httpx

from thumbwheel.client.http import Http
from thumbwheel.client.retries import if_safe
from thumbwheel.errors import ApiError, Damaged, Unreachable, successful

#: Called with the bytes that have arrived, and with their total if the server names it.
Progress = Callable[[int, int | None], None]


def download(http: Http, path: str, target: Path, sha256: str, progress: Progress = lambda _done, _total: None) -> None:
    """Downloads `path` of the API to `target`. An existing complete file is not downloaded again.

    The content is hashed while it arrives, in a file next to the target that is renamed only if the hash is `sha256`. A
    broken connection is resumed if the server supports `Range`, and started from the beginning if it does not. The
    limits of the client's retries count from the last byte gained.

    Raises `Damaged` if the content has another hash, `Unreachable`, `ApiError`.
    """
    if target.is_file() and sha256_of(target) == sha256:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with _Partial(target, sha256) as partial:

        def fetch() -> None:
            response = http.open(http.request("GET", path, headers=partial.headers()))
            try:
                partial.take(response, progress)
            finally:
                response.close()

        while True:
            most = partial.most
            try:
                http.retries.call(http.url, fetch, _worth_repeating)
                break
            except Unreachable:
                if partial.most == most:
                    raise
        partial.finish()


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


def _worth_repeating(error: BaseException) -> bool:
    """The rule for downloads: 416 as well, since the next attempt requests the whole file."""
    return if_safe(error) or (isinstance(error, ApiError) and error.status == 416)


class _Partial:
    """The part of a file that has arrived, in a file next to its target, with its hash so far."""

    def __init__(self, target: Path, sha256: str) -> None:
        self.target = target
        self.sha256 = sha256
        self.aside = target.with_name(f".{target.name}.{uuid4().hex}")
        self.most = 0  # bytes of the best attempt
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

    def take(self, response: httpx.Response, progress: Progress) -> None:
        """Appends the content of a response. Raises what `httpx` and `successful` raise, and `Damaged`."""
        if not response.is_success:
            response.read()
            if response.status_code == 416:  # the part does not belong to that file
                self._restart()
        successful(response)
        if response.status_code != 206:
            self._restart()
        elif not response.headers.get("Content-Range", "").startswith(f"bytes {self._sink.tell()}-"):
            self._restart()
            raise httpx.RemoteProtocolError("the server answered with another range than the requested one")
        self._require_same(response)
        start, length = self._sink.tell(), response.headers.get("Content-Length", "")
        total = start + int(length) if length.isdecimal() and "Content-Encoding" not in response.headers else None
        for chunk in response.iter_bytes():
            self._sink.write(chunk)
            self._hash.update(chunk)
            size = self._sink.tell()
            self.most = max(self.most, size)
            if total is not None and size > total:
                raise Damaged(f"{self.target.name} is longer than the {total:,} bytes that the server announced.")
            progress(size, total)
        if total is not None and self._sink.tell() != total:
            raise httpx.RemoteProtocolError(f"{self._sink.tell():,} of {total:,} bytes arrived")

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
