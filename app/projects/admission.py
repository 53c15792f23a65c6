"""Who may write into which project, remembered for a moment: the way of an event asks thousands of times a second."""

import asyncio
import time

from thumbwheel import wire

from app.access.caller import caller_of, require
from app.database import transaction
from app.projects.scoped import Scoped, project_of

#: For so long a key that was revoked may still bring in feedback.
REMEMBERED_SECONDS = 1.0
MOST_REMEMBERED = 10_000


class Admission:
    """Keys that may do what needs `scope`, and the project that each of their requests means."""

    def __init__(self, scope: wire.Scope) -> None:
        self._scope = scope
        self._remembered: dict[tuple[str | None, str | None], tuple[float, Scoped]] = {}

    async def admit(self, authorization: str | None, project: str | None) -> Scoped:
        """The project of a request with this header and this query parameter.

        Raises `Unauthenticated`, `Forbidden`, `NotFound`, `Invalid`, `Unavailable`: refusals are not remembered.
        """
        asked = (authorization, project)
        remembered = self._remembered.get(asked)
        if remembered is not None and time.monotonic() < remembered[0]:
            return remembered[1]
        at = await asyncio.to_thread(self._look_up, authorization, project)
        if len(self._remembered) >= MOST_REMEMBERED:
            self._remembered.clear()
        self._remembered[asked] = (time.monotonic() + REMEMBERED_SECONDS, at)
        return at

    def _look_up(self, authorization: str | None, project: str | None) -> Scoped:
        with transaction() as session:
            return project_of(session, require(caller_of(session, _secret(authorization)), self._scope), project)


def _secret(authorization: str | None) -> str | None:
    scheme, _, secret = (authorization or "").partition(" ")
    return secret.strip() if scheme.lower() == "bearer" and secret.strip() else None
