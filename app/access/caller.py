"""Identifies the caller of a request by its key, and checks the key's scopes."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy.orm import Session
from thumbwheel import wire

from app.access import keys, service
from app.access.operator_log import service as operator_log
from app.access.operator_log.service import LogEntry
from app.errors import Forbidden, Unauthenticated
from app.web.session import SAFE_METHODS, Transaction

bearer = HTTPBearer(
    auto_error=False, scheme_name="key", description="An API key: `Authorization: Bearer tw_…`", bearerFormat="tw_…"
)


NO_LIMITS = wire.KeyLimits()
#: Operations that need one of these and are no reading are entered in the operator log.
OPERATOR_SCOPES = frozenset({"runs:write", "releases:write", "admin"})
#: Parts of paths that no entry keeps: ids that an erasure has to reach, and the project, which has a column.
NOT_LOGGED = frozenset({"actor", "completion_id", "project"})
REQUEST_ID = re.compile(r"[!-~]{1,128}")


@dataclass(frozen=True)
class Caller:
    """The holder of a request's key. `project`: the only project that the key is valid for, None for all projects.
    `origins`: of the pages that may use it; empty for a key that is no browser key.
    """

    key_id: UUID
    name: str
    project: str | None
    scopes: frozenset[str]
    origins: frozenset[str] = frozenset()
    limits: wire.KeyLimits = NO_LIMITS

    @property
    def by(self) -> str:
        """The name of this caller in ledgers."""
        return f"key {self.name}"


def caller_of(session: Session, secret: str | None, *, browsers: bool = False) -> Caller:
    """Returns the holder of the key `secret`.

    browsers  whether browser keys may make this call

    Raises `Unauthenticated`, and `Forbidden` for a browser key that may not make this call.
    """
    if secret is None:
        raise Unauthenticated("Send your API key as `Authorization: Bearer tw_…`.", code="no_key")
    key = service.recognise(session, secret)
    if key.origins and not browsers:
        raise browser_key()
    limits = wire.KeyLimits.model_validate(key.limits) if key.limits else NO_LIMITS
    return Caller(key.id, key.name, key.project_id, frozenset(key.scopes), frozenset(key.origins), limits)


def browser_key() -> Forbidden:
    return Forbidden(
        "Your key is a browser key, which opens POST /v1/feedback alone: use another key.", code="browser_key"
    )


def require(caller: Caller, scope: wire.Scope) -> Caller:
    """Returns the caller. Raises `Forbidden` if its key lacks `scope`."""
    if not keys.allows(caller.scopes, scope):
        raise Forbidden(
            f"This needs the scope {scope}; your key {caller.name!r} has {', '.join(sorted(caller.scopes))}.",
            code="missing_scope",
            details={"scope": scope},
        )
    return caller


def authenticated(
    session: Transaction, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]
) -> Caller:
    """Returns the caller of a request, with any scopes; a dependency. Raises `Unauthenticated`."""
    return caller_of(session, credentials.credentials if credentials else None)


def may(scope: wire.Scope, *, logged: bool = False) -> Callable[..., Caller]:
    """Returns a dependency that returns a caller with `scope`, and begins an entry of the operator log if the operation
    changes something. It raises `Unauthenticated` or `Forbidden`.

    logged  whether the operation is entered in the log although its scope is none of an operator
    """

    def permitted(request: Request, session: Transaction, caller: Annotated[Caller, Depends(authenticated)]) -> Caller:
        require(caller, scope)
        if (logged or scope in OPERATOR_SCOPES) and request.method not in SAFE_METHODS:
            begin_entry(session, request, caller)
        return caller

    return permitted


def begin_entry(session: Session, request: Request, caller: Caller) -> None:
    """Begins an entry of the operator log, which is written when the transaction commits."""
    operator_log.begin(session, _entry(request, caller))


def _entry(request: Request, caller: Caller) -> LogEntry:
    about = {name: value for name, value in request.path_params.items() if name not in NOT_LOGGED}
    request_id = request.headers.get("x-request-id", "")
    return LogEntry(
        operation=request.scope["route"].operation_id,
        by=caller.by,
        key_id=caller.key_id,
        project=caller.project,
        request_id=request_id if REQUEST_ID.fullmatch(request_id) else None,
        about=about,
    )
