# Written by tools/async_client.py from ../client/releases.py: change that file, then run `make async-client`.
"""`AsyncReleases`: the ledger of checkpoints in production."""

from collections.abc import AsyncIterator, Sequence
from uuid import UUID

from thumbwheel import wire
from thumbwheel.async_client.http import AsyncHttp


class AsyncReleases:
    def __init__(self, http: AsyncHttp) -> None:
        self._http = http

    async def ship(
        self,
        checkpoint_id: UUID,
        *,
        share: float | None = None,
        reason: str = "",
        override_reason: str | None = None,
        override_scope: Sequence[str] | None = None,
    ) -> wire.Release:
        """Puts a checkpoint into production. A checkpoint whose gates did not pass needs `override_reason`.

        share            of actors that get it as a canary, between 0 and 1; None: it is live for all
        override_scope   the rules that are overridden; None for all that did not pass
        """
        new = wire.NewRelease(
            checkpoint_id=checkpoint_id,
            share=share,
            reason=reason,
            override_reason=override_reason,
            override_scope=None if override_scope is None else list(override_scope),
        )
        return await self._http.call(wire.Release, "POST", "/v1/releases", new, once=True)

    async def roll_back(self, *, reason: str = "") -> wire.Release:
        """Ends the canary; without one, returns to the checkpoint that was live before the current release."""
        new = wire.NewRelease(rollback=True, reason=reason)
        return await self._http.call(wire.Release, "POST", "/v1/releases", new, once=True)

    async def current(self) -> wire.CurrentRelease:
        return await self._http.get(wire.CurrentRelease, "/v1/releases/current")

    async def assignment(self, actor: str) -> wire.Assignment:
        """Returns the release that the actor gets."""
        return await self._http.get(wire.Assignment, "/v1/releases/assignment", {"actor": actor})

    async def time_to_learn(self) -> wire.TimeToLearn:
        """Returns how long feedback takes to become live, release by release."""
        return await self._http.get(wire.TimeToLearn, "/v1/time-to-learn")

    async def approval(self) -> wire.ReleaseApprovals:
        """Returns what users think of the newest releases, and what the rule of automatic rollback says."""
        return await self._http.get(wire.ReleaseApprovals, "/v1/releases/approval")

    def list(self) -> AsyncIterator[wire.Release]:
        """Yields the releases, newest first."""
        return self._http.pages(wire.Release, "/v1/releases")
