# Written by tools/async_client.py from ../client/keys.py: change that file, then run `make async-client`.
"""`AsyncKeys`: API keys."""

from collections.abc import AsyncIterator
from uuid import UUID

from thumbwheel import wire
from thumbwheel.async_client.http import AsyncHttp


class AsyncKeys:
    def __init__(self, http: AsyncHttp) -> None:
        self._http = http

    async def create(self, new: wire.NewKey) -> wire.CreatedKey:
        """Creates a key. This answer alone holds its secret."""
        return await self._http.call(wire.CreatedKey, "POST", "/v1/keys", new, scoped=False, drop_unset=True)

    def list(self) -> AsyncIterator[wire.Key]:
        return self._http.pages(wire.Key, "/v1/keys", scoped=False)

    async def change(self, key_id: UUID, limits: wire.KeyLimits) -> wire.Key:
        """Changes the limits that are given: None means any number."""
        change = wire.KeyChange(limits=limits)
        return await self._http.call(
            wire.Key, "PATCH", f"/v1/keys/{key_id}", change, safe=True, scoped=False, drop_unset=True
        )

    async def rotate(self, key_id: UUID, overlap_hours: float = 24) -> wire.CreatedKey:
        """Replaces the secret of a key. For `overlap_hours` the one before stays valid; 0 if it has leaked."""
        rotation = wire.KeyRotation(overlap_hours=overlap_hours)
        return await self._http.call(wire.CreatedKey, "POST", f"/v1/keys/{key_id}/rotate", rotation, scoped=False)

    async def revoke(self, key_id: UUID) -> wire.Key:
        return await self._http.call(wire.Key, "DELETE", f"/v1/keys/{key_id}", safe=True, scoped=False)
