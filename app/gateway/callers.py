"""The callers of the gateway by their Authorization headers."""

from collections.abc import Sequence

from sqlalchemy.orm import Session

from app.access.caller import Caller, caller_of
from app.access.known_keys import MOST_CHARACTERS
from app.capacity import Lane
from app.errors import Unauthenticated
from app.gateway.kept import KeptFacts

#: The longest time for which a key is taken unchecked while Postgres is away.
KEPT_SECONDS = 600.0


def callers(lane: Lane) -> KeptFacts[bytes, Caller]:
    """Returns the callers that a process knows. `get` raises `Unauthenticated`, and `Unavailable`."""

    async def read(authorization: bytes) -> Caller:
        secret = _secret_of(authorization)
        if secret is None:
            raise Unauthenticated("Send your API key as `Authorization: Bearer tw_…`.", code="no_key")
        return await lane.run(lambda session: caller_of(session, secret))

    return KeptFacts(read, KEPT_SECONDS)


def check_all(session: Session, authorizations: Sequence[bytes]) -> dict[bytes, Caller | None]:
    """Returns the caller of each header, None for a key that is no longer valid."""
    return {authorization: _checked(session, authorization) for authorization in authorizations}


def _checked(session: Session, authorization: bytes) -> Caller | None:
    try:
        return caller_of(session, _secret_of(authorization))
    except Unauthenticated:
        return None


def _secret_of(authorization: bytes) -> str | None:
    scheme, _, credentials = authorization.decode("latin-1").partition(" ")
    secret = credentials.strip()
    return secret if scheme.lower() == "bearer" and 0 < len(secret) <= MOST_CHARACTERS else None
