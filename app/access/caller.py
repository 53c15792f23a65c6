"""Identifies the caller of a request by its key, and checks the key's scopes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from fastapi import Depends
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy.orm import Session
from thumbwheel import wire

from app.access import keys, service
from app.errors import Forbidden, Unauthenticated
from app.web.session import Transaction

bearer = HTTPBearer(
    auto_error=False, scheme_name="key", description="An API key: `Authorization: Bearer tw_…`", bearerFormat="tw_…"
)


@dataclass(frozen=True)
class Caller:
    """The holder of a request's key. `project`: the only project that the key is valid for, None for all projects."""

    key_id: UUID
    name: str
    project: str | None
    scopes: frozenset[str]

    @property
    def by(self) -> str:
        """The name of this caller in ledgers."""
        return f"key {self.name}"


def caller_of(session: Session, secret: str | None) -> Caller:
    """Returns the holder of the key `secret`. Raises `Unauthenticated`."""
    if secret is None:
        raise Unauthenticated("Send your API key as `Authorization: Bearer tw_…`.", code="no_key")
    key = service.recognise(session, secret)
    return Caller(key.id, key.name, key.project_id, frozenset(key.scopes))


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


def may(scope: wire.Scope) -> Callable[[Caller], Caller]:
    """Returns a dependency that returns a caller with `scope`. It raises `Unauthenticated` or `Forbidden`."""

    def permitted(caller: Annotated[Caller, Depends(authenticated)]) -> Caller:
        return require(caller, scope)

    return permitted
