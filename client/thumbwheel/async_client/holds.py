# Written by tools/async_client.py from ../client/holds.py: change that file, then run `make async-client`.
"""`AsyncHolds`: feedback that nothing deletes while a legal hold is in force."""

from collections.abc import AsyncIterator
from uuid import UUID

from thumbwheel import wire
from thumbwheel.async_client.http import AsyncHttp


class AsyncHolds:
    """Methods need a key with the scope admin."""

    def __init__(self, http: AsyncHttp) -> None:
        self._http = http

    async def place(self, new: wire.NewHold) -> wire.LegalHold:
        """Places a hold; the same call again returns the same hold."""
        return await self._http.call(wire.LegalHold, "POST", "/v1/holds", new, safe=True)

    def list(self) -> AsyncIterator[wire.LegalHold]:
        """Yields all holds, newest first, those that have ended among them."""
        return self._http.pages(wire.LegalHold, "/v1/holds")

    async def get(self, hold_id: UUID) -> wire.LegalHold:
        return await self._http.get(wire.LegalHold, f"/v1/holds/{hold_id}")

    async def release(self, hold_id: UUID, reason: str) -> wire.LegalHold:
        """Releases a hold: with the key that placed it, or with an admin key that opens every project."""
        body = wire.HoldRelease(reason=reason)
        return await self._http.call(wire.LegalHold, "POST", f"/v1/holds/{hold_id}/release", body, safe=True)
