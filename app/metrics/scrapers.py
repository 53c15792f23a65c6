"""Admits scrapers by their keys, and remembers them, so that scrapes go on while Postgres is away."""

import time

from sqlalchemy.orm import Session

from app import settings
from app.access.caller import caller_of, require
from app.capacity import Coalesced, Lane
from app.errors import Unauthenticated, Unavailable

#: A key is looked up again after this time; a revoked one may read metrics for this long.
REMEMBERED_SECONDS = 15.0
#: A key that was known within this time is admitted while Postgres does not answer.
TRUSTED_SECONDS = 3600.0
MOST_REMEMBERED = 1_000
MOST_CHARACTERS = 1_000

#: The only project that a scraper may see, None for all projects.
Sight = str | None


class Scrapers:
    """Knows which projects a key may see. `lane`: for look-ups of keys."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._known: dict[str, tuple[float, Sight]] = {}
        self._look_up: Coalesced[str, Sight] = Coalesced(self._looked_up)

    async def admit(self, secret: str | None) -> Sight:
        """Returns the only project that the key may see, None for all; if pages are open, so are all metrics.

        Raises `Unauthenticated`, `Forbidden` without the scope runs:read, and `Unavailable` if the key was not known
        lately and Postgres does not answer.
        """
        if settings.current().page_access == "open":
            return None
        if secret is None or len(secret) > MOST_CHARACTERS:
            raise Unauthenticated("Send your API key as `Authorization: Bearer tw_…`.", code="no_key")
        at, sight = self._known.get(secret, (-TRUSTED_SECONDS, None))
        age = time.monotonic() - at
        if secret in self._known and age < REMEMBERED_SECONDS:
            return sight
        try:
            return await self._look_up(secret)
        except Unavailable:
            if secret in self._known and age < TRUSTED_SECONDS:
                return sight
            raise

    async def _looked_up(self, secret: str) -> Sight:
        try:
            sight = await self._lane.run(lambda session: _sight(session, secret))
        except Unavailable:
            raise
        except Exception:
            self._known.pop(secret, None)
            raise
        if len(self._known) >= MOST_REMEMBERED:
            self._known.clear()
        self._known[secret] = (time.monotonic(), sight)
        return sight


def _sight(session: Session, secret: str) -> Sight:
    return require(caller_of(session, secret), "runs:read").project
