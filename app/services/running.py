"""Reads the URLs of the embedded servers of a running `thumbwheel up` from its data folder."""

import socket
from pathlib import Path

from app.errors import Forbidden
from app.services.postgres import NAME

CONNECT_SECONDS = 1.0


def postgres_url(folder: Path) -> str | None:
    """Returns the URL of the Postgres that serves the data in `folder`, None if none answers.

    Raises `Forbidden` if the folder belongs to another user.
    """
    port = _line(folder / "cluster" / "postmaster.pid", 3)
    if port is None or not port.isdigit() or not _listens(int(port)):
        return None
    return f"postgresql://{NAME}:{_read(folder / 'password')}@127.0.0.1:{port}/{NAME}"


def valkey_url(folder: Path) -> str | None:
    """Returns the URL of the Valkey that serves the data in `folder`, None if none answers. Raises `Forbidden`."""
    directive = _line(folder / "data" / "valkey.conf", 1)
    port = directive.removeprefix("port ") if directive else ""
    if not port.isdigit() or not _listens(int(port)):
        return None
    return f"redis://:{_read(folder / 'password')}@127.0.0.1:{port}/0"


def _line(path: Path, number: int) -> str | None:
    lines = (_read(path) or "").splitlines()
    return lines[number].strip() if len(lines) > number else None


def _read(path: Path) -> str | None:
    try:
        return path.read_text()
    except FileNotFoundError:
        return None
    except PermissionError as error:
        raise Forbidden(
            f"{path} belongs to another user: run this as the user who runs `thumbwheel up`.", code="folder_closed"
        ) from error


def _listens(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=CONNECT_SECONDS):
            return True
    except OSError:
        return False
