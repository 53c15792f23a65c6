"""Files of checkpoints and snapshots, brought whole or not at all."""

import hashlib
import time
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from uuid import uuid4

import httpx

from thumbwheel.failures import Damaged, Unreachable, pauses, successful

CHUNK = 1 << 20

#: Told how many bytes have come, and how many there are, where the server says so.
Progress = Callable[[int, int | None], None]


def download(
    http: httpx.Client,
    request: httpx.Request,
    target: Path,
    sha256: str,
    tries: int,
    progress: Progress = lambda _done, _total: None,
) -> None:
    """What `request` answers, in `target`. A file that is there already, whole, is kept.

    Raises `Damaged` where the content is another one, `Unreachable`, `ApiError`.
    """
    if target.is_file() and sha256_of(target) == sha256:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f".{target.name}.{uuid4().hex}")
    try:
        for last, pause in pauses(tries):
            try:
                _stream(http, request, aside, progress)
                break
            except httpx.TransportError as error:
                if last:
                    raise Unreachable(str(http.base_url).rstrip("/"), error) from error
            time.sleep(pause)
        found = sha256_of(aside)
        if found != sha256:
            raise Damaged(f"{target.name} has SHA-256 {found}, not {sha256} as registered: pull it again.")
        aside.replace(target)
    finally:
        aside.unlink(missing_ok=True)


def inside(folder: Path, path: str) -> Path:
    """Where a file goes; never outside of `folder`, whatever the server says."""
    relative = PurePosixPath(path)
    if relative.is_absolute() or ".." in relative.parts or not relative.parts:
        raise Damaged(f"The server names a file outside of its folder: {path!r}.")
    return folder / relative


def _stream(http: httpx.Client, request: httpx.Request, aside: Path, progress: Progress) -> None:
    response = http.send(request, stream=True)
    try:
        if not response.is_success:
            response.read()
        length = response.headers.get("Content-Length", "")
        total = int(length) if length.isdecimal() else None
        with aside.open("wb") as sink:
            for chunk in successful(response).iter_bytes(CHUNK):
                sink.write(chunk)
                progress(sink.tell(), total)
    finally:
        response.close()


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
