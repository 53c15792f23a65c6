"""The callers of the gateway by the secrets of their keys."""

from collections.abc import Sequence

from sqlalchemy.orm import Session

from app.access.caller import Caller, caller_of
from app.access.known_keys import MOST_CHARACTERS
from app.capacity import Lane
from app.errors import Forbidden, Unauthenticated
from app.gateway.kept import KeptFacts

#: The longest time for which a key is taken unchecked while Postgres is away.
KEPT_SECONDS = 600.0


def callers(lane: Lane) -> KeptFacts[str, Caller]:
    """Returns the callers that a process knows. `get` raises `Unauthenticated`, `Forbidden` and `Unavailable`."""

    async def read(secret: str) -> Caller:
        return await lane.run(lambda session: caller_of(session, secret))

    return KeptFacts(read, KEPT_SECONDS)


def check_all(session: Session, secrets: Sequence[str]) -> dict[str, Caller | None]:
    """Returns the caller of each secret, None for a key that is no longer valid."""
    return {secret: _checked(session, secret) for secret in secrets}


def _checked(session: Session, secret: str) -> Caller | None:
    try:
        return caller_of(session, secret)
    except (Unauthenticated, Forbidden):
        return None


def secret_of(authorization: bytes) -> str:
    """Returns the secret in an Authorization header: one key can be written in many ways. Raises `Unauthenticated`."""
    scheme, _, credentials = authorization.decode("latin-1").partition(" ")
    secret = credentials.strip()
    if scheme.lower() != "bearer" or not 0 < len(secret) <= MOST_CHARACTERS:
        raise Unauthenticated("Send your API key as `Authorization: Bearer tw_…`.", code="no_key")
    return secret
