"""What it means that a file system fails, and what helps.

Unavailable          the store does not answer: later it may
├── StoreUnusable    it answers and says no (full, no right, no bucket): somebody has to mend it
└── DamagedArtifact  a file's content is not the one that its name says
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
    """Say what the store's file system raises as an error of ours, with the remedy.

    what, location  what the store cannot do, and where it is
    missing         what it means that something is not there; None: nothing is wrong
    """
    try:
        yield
    except FileNotFoundError as error:
        if (meant := missing()) is not None:
            raise meant from error
    except _failures() as error:
        kind, remedy = _meaning(error)
        cause = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise kind(
            f"The artifact store {location} cannot {what}: {cause}: {remedy}.", code="artifacts_unavailable"
        ) from error


def _meaning(error: Exception) -> tuple[type[Unavailable], str]:
    """What kind of failure it is, and what helps."""
    number = getattr(error, "errno", None)
    if number in _FULL:
        return StoreUnusable, "free some space there, or move the store and set THUMBWHEEL_ARTIFACTS_URL"
    if isinstance(error, PermissionError) or number in _CLOSED:
        return StoreUnusable, "give whoever runs Thumbwheel the right to list, read, write and delete there"
    if number in _NO_FOLDER:
        return StoreUnusable, "point THUMBWHEEL_ARTIFACTS_URL at a folder, or at where one can be made"
    if type(error).__name__ == "NoCredentialsError":
        return StoreUnusable, "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give this machine a role"
    return Unavailable, "is it up, and THUMBWHEEL_ARTIFACTS_URL right (of an S3 that is not Amazon's, AWS_ENDPOINT_URL)"


def _failures() -> tuple[type[Exception], ...]:
    """What a file system raises where its store fails: besides OSError, what the libraries that are loaded say."""
    libraries = (("botocore.exceptions", "BotoCoreError"), ("aiohttp", "ClientError"))
    return (OSError, *(getattr(sys.modules[module], name) for module, name in libraries if module in sys.modules))
