"""`Releases`: the ledger of checkpoints in production."""

from collections.abc import Iterator, Sequence
from uuid import UUID

from thumbwheel import wire
from thumbwheel.client.http import Http


class Releases:
    def __init__(self, http: Http) -> None:
        self._http = http

    def ship(
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
        return self._http.call(wire.Release, "POST", "/v1/releases", new, once=True)

    def roll_back(self, *, reason: str = "") -> wire.Release:
        """Ends the canary; without one, returns to the checkpoint that was live before the current release."""
        new = wire.NewRelease(rollback=True, reason=reason)
        return self._http.call(wire.Release, "POST", "/v1/releases", new, once=True)

    def current(self) -> wire.CurrentRelease:
        return self._http.get(wire.CurrentRelease, "/v1/releases/current")

    def assignment(self, actor: str) -> wire.Assignment:
        """Returns the release that the actor gets."""
        return self._http.get(wire.Assignment, "/v1/releases/assignment", {"actor": actor})

    def time_to_learn(self) -> wire.TimeToLearn:
        """Returns how long feedback takes to become live, release by release."""
        return self._http.get(wire.TimeToLearn, "/v1/time-to-learn")

    def approval(self) -> wire.ReleaseApprovals:
        """Returns what users think of the newest releases, and what the rule of automatic rollback says."""
        return self._http.get(wire.ReleaseApprovals, "/v1/releases/approval")

    def list(self) -> Iterator[wire.Release]:
        """Yields the releases, newest first."""
        return self._http.pages(wire.Release, "/v1/releases")
