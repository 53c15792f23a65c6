"""Checks that a request has a valid key before its body is read."""

import time

from app.access.caller import caller_of
from app.capacity import Lane
from app.errors import Unauthenticated

REMEMBERED_SECONDS = 1.0
MOST_REMEMBERED = 10_000
MOST_CHARACTERS = 1000


class KnownKeys:
    """Caches the Authorization headers with a valid key for a moment; refusals are not cached."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._until: dict[bytes, float] = {}
        self._changes = 0

    def forget(self) -> None:
        """Looks every key up again, since one has changed."""
        self._until.clear()
        self._changes += 1

    async def require(self, authorization: bytes) -> None:
        """Raises `Unauthenticated` for a header without a valid key, `Unavailable` while Postgres does not answer."""
        if self._until.get(authorization, 0) > time.monotonic():
            return
        scheme, _, credentials = authorization.decode("latin-1").partition(" ")
        secret = credentials.strip() if scheme.lower() == "bearer" else ""
        if not 0 < len(secret) <= MOST_CHARACTERS:
            raise Unauthenticated("Send your API key as `Authorization: Bearer tw_…`.", code="no_key")
        changes = self._changes
        await self._lane.run(lambda session: caller_of(session, secret))
        if changes != self._changes:  # it may have been looked up before the change
            return
        if len(authorization) > MOST_CHARACTERS:  # with spaces: it would fill the memory
            return
        if len(self._until) >= MOST_REMEMBERED:
            self._until.clear()
        self._until[authorization] = time.monotonic() + REMEMBERED_SECONDS
