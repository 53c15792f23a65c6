# Written by tools/async_client.py from ../client/quarantine.py: change that file, then run `make async-client`.
"""`AsyncQuarantine`: actors whose votes look automated, and the decisions about them."""

from collections.abc import AsyncIterator

from thumbwheel import wire
from thumbwheel.async_client.http import AsyncHttp


class AsyncQuarantine:
    def __init__(self, http: AsyncHttp) -> None:
        self._http = http

    def list(self, state: wire.QuarantineState | None = None) -> AsyncIterator[wire.QuarantinedActor]:
        """Yields actors with findings or decisions, by id. A large log takes longer than the default timeout."""
        filters = {"limit": "200", **({"state": state} if state else {})}
        return self._http.pages(wire.QuarantinedActor, "/v1/quarantine", filters)

    async def get(self, actor: str) -> wire.QuarantinedActor:
        """Returns the findings about an actor, and the decision in force."""
        return await self._http.get(wire.QuarantinedActor, "/v1/quarantine/actor", {"actor": actor})

    async def decide(self, new: wire.NewQuarantineDecision) -> wire.QuarantineDecision:
        """Decides whether the votes of an actor count from now on."""
        return await self._http.call(wire.QuarantineDecision, "POST", "/v1/quarantine/decisions", new)

    def decisions(self, actor: str | None = None) -> AsyncIterator[wire.QuarantineDecision]:
        """Yields all decisions, or those about one actor, newest first."""
        filters = {"actor": actor} if actor is not None else {}
        return self._http.pages(wire.QuarantineDecision, "/v1/quarantine/decisions", filters)
