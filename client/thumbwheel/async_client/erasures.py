# Written by tools/async_client.py from ../client/erasures.py: change that file, then run `make async-client`.
"""`AsyncErasures`: actors whose events are erased, and the certificates of it."""

from collections.abc import AsyncIterator, Sequence
from uuid import UUID

from thumbwheel import wire
from thumbwheel.async_client.http import AsyncHttp


class AsyncErasures:
    def __init__(self, http: AsyncHttp) -> None:
        self._http = http

    async def start(self, actor: str) -> wire.Erasure:
        """Starts to erase all events of an actor; from now on, no event of theirs is stored."""
        answer = await self._http.send("DELETE", "/v1/actors", parameters={"actor": actor}, safe=True)
        return wire.Erasure.model_validate(answer.json())

    def list(self) -> AsyncIterator[wire.Erasure]:
        """Yields the erasures, newest first, without their certificates."""
        return self._http.pages(wire.Erasure, "/v1/erasures")

    async def get(self, erasure_id: UUID) -> wire.Erasure:
        """Returns the progress of an erasure, with its certificate once it is complete."""
        return await self._http.get(wire.Erasure, f"/v1/erasures/{erasure_id}")

    def events(self, erasure_id: UUID) -> AsyncIterator[wire.ErasedEvent]:
        """Yields the ids of the erased events."""
        return self._http.pages(wire.ErasedEvent, f"/v1/erasures/{erasure_id}/events", {"limit": "1000"})

    async def copy_in(self, erasures: Sequence[wire.CopiedErasure]) -> wire.ErasureCopyReceipt:
        """Keeps the erased actors of another project away from this one: up to 1,000 at a time."""
        copied = wire.CopiedErasures(erasures=[*erasures])
        return await self._http.call(wire.ErasureCopyReceipt, "POST", "/v1/erasures", copied, safe=True)

    async def lift_tombstone(self, erasure_id: UUID) -> wire.Erasure:
        """Lets the erased actor come back: new events of theirs are stored again."""
        return await self._http.call(wire.Erasure, "DELETE", f"/v1/erasures/{erasure_id}/tombstone", safe=True)
