"""Who may read the status page: anybody where the settings say so, else whoever holds a key."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, HTTPException
from fastapi.security import HTTPBasic, HTTPBasicCredentials

from app import settings
from app.access import keys, service
from app.errors import Unauthenticated
from app.web.session import Transaction

basic = HTTPBasic(auto_error=False)


@dataclass(frozen=True)
class Reader:
    """`project` is the only one that may be read, None for all of them."""

    project: str | None


def reader(session: Transaction, credentials: Annotated[HTTPBasicCredentials | None, Depends(basic)]) -> Reader:
    """The browser asks for a user and a password: the password is an API key with runs:read, the user anything."""
    if settings.current().page_access == "open":
        return Reader(None)
    if credentials is None:
        raise _asked("give an API key as the password; the user name does not matter")
    try:
        key = service.recognise(session, credentials.password)
    except Unauthenticated as error:
        raise _asked(error.message) from error
    if not keys.allows(frozenset(key.scopes), "runs:read"):
        raise _asked("this key lacks the scope runs:read")
    return Reader(key.project_id)


def _asked(why: str) -> HTTPException:
    return HTTPException(401, why, headers={"WWW-Authenticate": 'Basic realm="Thumbwheel: an API key as the password"'})
