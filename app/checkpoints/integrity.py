"""Verifies that the artifact store still has the files of a checkpoint, undamaged.

Hashing weights takes seconds to minutes. One thread per process does it, outside of any transaction; a request waits
for it for a bounded time and then gets status 503. The verification continues, and the repeated request finds its
result. A result serves one request within a few minutes, since a disk may fail later.
"""

import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet

from app import artifacts
from app.artifacts import DamagedArtifact
from app.errors import NotFound, Refused, Unavailable

WAIT_SECONDS = 10.0
#: Requests that may wait at the same time; others are answered at once, since each takes a thread and a connection.
WAITING = threading.BoundedSemaphore(4)
RESULT_SECONDS = 600.0

Files = tuple[tuple[str, str], ...]


class Verifications:
    """The running verifications, and results that no request has taken yet."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="verification")
        self._known: dict[Files, tuple[Future[str | None], float]] = {}

    def damage(self, files: Files) -> str | None:
        """Returns a sentence about the first of `files` (path, sha256) that is damaged or missing, None without one.

        Raises `Unavailable` if that takes longer than a request may wait, or if the store does not answer.
        """
        result = self._result(files)
        waits = WAITING.acquire(blocking=False)
        try:
            damage_found = result.result(WAIT_SECONDS if waits else 0)
        except NotYet:
            raise Unavailable(
                "The checkpoint's files are being verified, which takes a while: repeat the request in a few seconds.",
                code="verifying_weights",
            ) from None
        except Unavailable:
            self._forget(files)
            raise
        finally:
            if waits:
                WAITING.release()
        self._forget(files)
        return damage_found

    def _result(self, files: Files) -> "Future[str | None]":
        now = time.monotonic()
        with self._lock:
            for key, (result, begun) in list(self._known.items()):
                if result.done() and now - begun > RESULT_SECONDS:
                    del self._known[key]
            if files not in self._known:
                self._known[files] = (self._thread.submit(_damage, files), now)
            return self._known[files][0]

    def _forget(self, files: Files) -> None:
        with self._lock:
            self._known.pop(files, None)


VERIFICATIONS = Verifications()


def require_whole(about: str, files: Mapping[str, str]) -> None:
    """Raises `Refused` (weights_damaged) if one of `files` (path → sha256) is damaged or missing, and `Unavailable`.

    about  the name of the checkpoint in the message
    """
    damage = VERIFICATIONS.damage(tuple(sorted(files.items()))) if files else None
    if damage is not None:
        raise Refused(
            f"{about} cannot ship: {damage}. Restore the file from a backup, or ship another checkpoint; "
            "override_reason does not help here.",
            code="weights_damaged",
        )


def _damage(files: Files) -> str | None:
    for path, sha256 in files:
        try:
            artifacts.verify(sha256)
        except NotFound:
            return f"its file {path} (sha256 {sha256}) is missing from the artifact store"
        except DamagedArtifact:
            return f"its file {path} is damaged in the artifact store: its sha256 is not {sha256}"
    return None
