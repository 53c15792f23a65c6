"""Decides who may read the status page: every visitor if the settings allow it, else holders of an API key."""

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
    """A reader of the status page. `project`: the only project that may be read, None for all projects."""

    project: str | None


def reader(session: Transaction, credentials: Annotated[HTTPBasicCredentials | None, Depends(basic)]) -> Reader:
    """Returns the reader of a request. The password is an API key with the scope runs:read; the user name does not
    matter."""
    if settings.current().page_access == "open":
        return Reader(None)
    if credentials is None:
        raise _unauthorized("enter an API key as the password; the user name does not matter")
    try:
        key = service.recognise(session, credentials.password)
    except Unauthenticated as error:
        raise _unauthorized(error.message) from error
    if not keys.allows(frozenset(key.scopes), "runs:read"):
        raise _unauthorized("this key lacks the scope runs:read")
    return Reader(key.project_id)


def _unauthorized(reason: str) -> HTTPException:
    return HTTPException(401, reason, headers={"WWW-Authenticate": 'Basic realm="Thumbwheel: an API key as password"'})
