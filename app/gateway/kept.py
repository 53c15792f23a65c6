"""Facts of Postgres that requests need, read again in the background, so that requests wait only the first time.

    first request ─▶ read ─▶ kept ─▶ read again about every second while it is used

A fact that is older than `FRESH_SECONDS`, since it was not used for a while, is read before it is used. While Postgres
is away, the last one holds.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from app.capacity import Coalesced
from app.errors import ThumbwheelError, Unavailable

FRESH_SECONDS = 2.5
#: A fact that was not used for longer is not read in the background, and is forgotten after the second time.
USED_SECONDS, FORGOTTEN_SECONDS = 60.0, 3600.0
#: The time for which a request that could use an older fact waits for a newer one.
PATIENCE_SECONDS = 0.25
MOST_KEPT = 10_000

Key = TypeVar("Key", bound=Hashable)
Fact = TypeVar("Fact")


@dataclass
class _KeptFact(Generic[Fact]):
    fact: Fact
    read_at: float
    used_at: float


class KeptFacts(Generic[Key, Fact]):
    """The facts of one kind.

    read        reads a fact; it raises `Unavailable` while Postgres is away
    most_age    seconds for which a fact holds while Postgres is away
    away        whether Postgres is known to be away, so that no request has to find out
    """

    def __init__(
        self,
        read: Callable[[Key], Awaitable[Fact]],
        most_age: float = float("inf"),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.away = False
        self._clock = clock
        self._most_age = most_age
        self._kept: dict[Key, _KeptFact[Fact]] = {}
        self._read: Coalesced[Key, Fact] = Coalesced(read)

    async def get(self, key: Key) -> Fact:
        """Returns a fact. Raises the errors of `read`; `Unavailable` only if no fact is there that still holds."""
        now = self._clock()
        kept = self._kept.get(key)
        if kept is None:
            return await self._newly_read(key)
        kept.used_at = now
        age = now - kept.read_at
        if age < FRESH_SECONDS or (self.away and age < self._most_age):
            return kept.fact
        try:
            return await asyncio.wait_for(self._newly_read(key), PATIENCE_SECONDS)
        except (Unavailable, TimeoutError):
            if age < self._most_age:
                return kept.fact
            raise Unavailable(
                "Postgres has been away for long, and your key cannot be checked now: try again in a moment.",
                code="database_unavailable",
            ) from None

    def known(self) -> dict[Key, Fact]:
        """Returns every fact that is kept."""
        return {key: kept.fact for key, kept in self._kept.items()}

    def in_use(self) -> list[Key]:
        """Returns the keys of facts that were used lately, and forgets those that were not used for long."""
        now = self._clock()
        for key in [key for key, kept in self._kept.items() if now - kept.used_at > FORGOTTEN_SECONDS]:
            del self._kept[key]
        return [key for key, kept in self._kept.items() if now - kept.used_at < USED_SECONDS]

    def take(self, facts: Mapping[Key, Fact | None]) -> None:
        """Takes facts that were read in the background; None means that there is no such fact any more."""
        self.away = False
        now = self._clock()
        for key, fact in facts.items():
            kept = self._kept.get(key)
            if fact is None:
                self._kept.pop(key, None)
            elif kept is not None:
                kept.fact, kept.read_at = fact, now

    async def _newly_read(self, key: Key) -> Fact:
        try:
            fact = await self._read(key)
        except Unavailable:
            raise
        except ThumbwheelError:
            self._kept.pop(key, None)
            raise
        if len(self._kept) >= MOST_KEPT:
            self._kept.clear()
        now = self._clock()
        self._kept[key] = _KeptFact(fact, now, now)
        return fact
