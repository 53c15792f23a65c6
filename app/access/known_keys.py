"""Checks that a request has a known key before the rest of the request is read."""

import time

from app.access.caller import caller_of
from app.capacity import Lane
from app.errors import Unauthenticated

REMEMBERED_SECONDS = 1.0
MOST_REMEMBERED = 10_000
MOST_CHARACTERS = 1000


class KnownKeys:
    """Remembers Authorization headers with a known key for a moment; refusals are not remembered."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._until: dict[bytes, float] = {}

    async def require(self, authorization: bytes) -> None:
        """Raises `Unauthenticated` for a header without a known key, `Unavailable` while Postgres does not answer."""
        if self._until.get(authorization, 0) > time.monotonic():
            return
        scheme, _, secret = authorization.decode("latin-1").partition(" ")
        presented = secret.strip() if scheme.lower() == "bearer" and secret.strip() else None
        if presented is None or len(presented) > MOST_CHARACTERS:
            raise Unauthenticated("Send your API key as `Authorization: Bearer tw_…`.", code="no_key")
        await self._lane.run(lambda session: caller_of(session, presented))
        if len(self._until) >= MOST_REMEMBERED:
            self._until.clear()
        self._until[authorization] = time.monotonic() + REMEMBERED_SECONDS
