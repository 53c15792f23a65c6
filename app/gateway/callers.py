"""The keys of callers, checked in the background, so that requests wait for Postgres only the first time.

    first request ─▶ look-up ─▶ known ─▶ checked again about every second while it is used

A revoked key is refused within `FRESH_SECONDS`. While Postgres is away, known keys stay valid for `KEPT_SECONDS`.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy.orm import Session

from app.access.caller import Caller, caller_of
from app.access.known_keys import MOST_CHARACTERS
from app.capacity import Coalesced, Lane
from app.errors import Unauthenticated, Unavailable

#: A key that was checked longer ago is checked before its request is answered.
FRESH_SECONDS = 2.5
#: A key that was not used for longer is not checked in the background.
USED_SECONDS = 60.0
#: The longest time for which a key is taken unchecked while Postgres is away.
KEPT_SECONDS = 600.0
#: The time for which a request with a known key waits for its check.
PATIENCE_SECONDS = 0.25
MOST_KNOWN = 10_000

Checked = dict[bytes, Caller | None]


@dataclass
class _Known:
    caller: Caller
    checked_at: float
    used_at: float = field(default_factory=time.monotonic)


class Callers:
    """The callers that this process knows, by their Authorization headers."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._known: dict[bytes, _Known] = {}
        self._look_up = Coalesced(self._looked_up)

    async def caller(self, authorization: bytes) -> Caller:
        """Returns the holder of a key. Raises `Unauthenticated`, and `Unavailable` for a new key without Postgres."""
        now = time.monotonic()
        known = self._known.get(authorization)
        if known is None:
            return await self._look_up(authorization)
        known.used_at = now
        if now - known.checked_at < FRESH_SECONDS:
            return known.caller
        try:
            return await asyncio.wait_for(self._look_up(authorization), PATIENCE_SECONDS)
        except (Unavailable, TimeoutError):
            if now - known.checked_at < KEPT_SECONDS:
                return known.caller
            raise Unavailable(
                "Postgres has been away for ten minutes, and your key cannot be checked: try again in a moment.",
                code="database_unavailable",
            ) from None

    def in_use(self) -> list[bytes]:
        """Returns the headers of the keys that were used lately, and forgets those that were not used for long."""
        now = time.monotonic()
        for authorization in [each for each, known in self._known.items() if now - known.used_at > KEPT_SECONDS]:
            del self._known[authorization]
        return [each for each, known in self._known.items() if now - known.used_at < USED_SECONDS]

    def take(self, checked: Checked) -> None:
        """Takes the results of `check_all`: None means that the key is no longer valid."""
        now = time.monotonic()
        for authorization, caller in checked.items():
            known = self._known.get(authorization)
            if caller is None:
                self._known.pop(authorization, None)
            elif known is not None:
                known.caller, known.checked_at = caller, now

    async def _looked_up(self, authorization: bytes) -> Caller:
        secret = _secret_of(authorization)
        if secret is None:
            raise Unauthenticated("Send your API key as `Authorization: Bearer tw_…`.", code="no_key")
        try:
            caller = await self._lane.run(lambda session: caller_of(session, secret))
        except Unauthenticated:
            self._known.pop(authorization, None)
            raise
        if len(self._known) >= MOST_KNOWN:
            self._known.clear()
        self._known[authorization] = _Known(caller, time.monotonic())
        return caller


def check_all(session: Session, authorizations: Sequence[bytes]) -> Checked:
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
