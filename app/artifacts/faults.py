"""Translates failures of a file system into errors with a remedy.

Unavailable          the store does not answer; it may later
├── StoreUnusable    the store refuses (full, no permission, no bucket): an operator has to repair it
└── DamagedArtifact  a file's content does not match its name
"""

import errno
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from app.errors import ThumbwheelError, Unavailable

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_FOLDER = {errno.ENOTDIR, errno.EEXIST, errno.ELOOP, errno.ENAMETOOLONG}
_CLOSED = {errno.EACCES, errno.EPERM, errno.EROFS}


class StoreUnusable(Unavailable):
    pass


class DamagedArtifact(Unavailable):
    pass


@contextmanager
def explained(what: str, location: str, *, missing: Callable[[], ThumbwheelError | None]) -> Iterator[None]:
    """Raises errors of the store's file system as `Unavailable` or one of its kinds, with a remedy.

    what, location  the operation, as a verb phrase, and the location of the store
    missing         returns the error for a missing file, or None if that is no error
    """
    try:
        yield
    except FileNotFoundError as error:
        if (translated := missing()) is not None:
            raise translated from error
    except _failures() as error:
        kind, remedy = _meaning(error)
        cause = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise kind(
            f"The artifact store {location} cannot {what}: {cause}: {remedy}.", code="artifacts_unavailable"
        ) from error


def _meaning(error: Exception) -> tuple[type[Unavailable], str]:
    """Returns the kind of the failure and the remedy."""
    number = getattr(error, "errno", None)
    if number in _FULL:
        return StoreUnusable, "free some space there, or move the store and set THUMBWHEEL_ARTIFACTS_URL"
    if isinstance(error, PermissionError) or number in _CLOSED:
        return StoreUnusable, "give the user who runs Thumbwheel the right to list, read, write and delete there"
    if number in _NO_FOLDER:
        return StoreUnusable, "point THUMBWHEEL_ARTIFACTS_URL at a folder, or at a place where one can be created"
    if type(error).__name__ == "NoCredentialsError":
        return StoreUnusable, "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give this machine a role"
    return Unavailable, "check that it is up, and THUMBWHEEL_ARTIFACTS_URL (AWS_ENDPOINT_URL for an S3 outside Amazon)"


def _failures() -> tuple[type[Exception], ...]:
    """Returns the exceptions that mean a failing store: OSError, and those of the loaded libraries."""
    libraries = (("botocore.exceptions", "BotoCoreError"), ("aiohttp", "ClientError"))
    return (OSError, *(getattr(sys.modules[module], name) for module, name in libraries if module in sys.modules))
