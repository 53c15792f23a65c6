# Written by tools/async_client.py from ../client/comparisons.py: change that file, then run `make async-client`.
"""`AsyncComparisons`: arms compared on one snapshot, and sweeps over recipe fields."""

from collections.abc import AsyncIterator
from uuid import UUID

from thumbwheel import wire
from thumbwheel.async_client.http import AsyncHttp


class AsyncComparisons:
    def __init__(self, http: AsyncHttp) -> None:
        self._http = http

    async def start(self, new: wire.NewComparison) -> wire.ComparisonJob:
        return await self._http.call(wire.ComparisonJob, "POST", "/v1/comparisons", new, once=True)

    async def sweep(self, new: wire.NewSweep) -> wire.ComparisonJob:
        """Starts a search of a space of recipe fields."""
        return await self._http.call(wire.ComparisonJob, "POST", "/v1/sweeps", new, once=True)

    def list(self) -> AsyncIterator[wire.ComparisonJob]:
        """Yields the comparisons and sweeps, newest first."""
        return self._http.pages(wire.ComparisonJob, "/v1/comparisons")

    async def get(self, comparison_id: UUID) -> wire.ComparisonJob:
        return await self._http.get(wire.ComparisonJob, f"/v1/comparisons/{comparison_id}")

    async def cancel(self, comparison_id: UUID) -> wire.ComparisonJob:
        return await self._http.call(wire.ComparisonJob, "POST", f"/v1/comparisons/{comparison_id}/cancel", safe=True)
