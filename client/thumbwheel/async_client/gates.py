# Written by tools/async_client.py from ../client/gates.py: change that file, then run `make async-client`.
"""`AsyncGates`: versions of the gates, and which of them is adopted."""

from collections.abc import AsyncIterator, Sequence

from thumbwheel import wire
from thumbwheel.async_client.http import AsyncHttp


class AsyncGates:
    def __init__(self, http: AsyncHttp) -> None:
        self._http = http

    async def create(self, gates: wire.GateChoice, *, note: str = "") -> wire.StoredGates:
        """Stores a document, or a preset by its name, as the next version, or returns the version that is equal."""
        new = wire.NewGates(gates=gates, note=note)
        return await self._http.call(wire.StoredGates, "POST", "/v1/gates", new, safe=True)

    def list(self) -> AsyncIterator[wire.StoredGates]:
        """Yields the versions, newest first."""
        return self._http.pages(wire.StoredGates, "/v1/gates")

    async def presets(self) -> Sequence[wire.GateDocument]:
        """Returns the documents that come with the server."""
        items = (await self._http.send("GET", "/v1/gates/presets", safe=True)).json()
        return [wire.GateDocument.model_validate(item) for item in items]

    async def get(self, version: int) -> wire.StoredGates:
        return await self._http.get(wire.StoredGates, f"/v1/gates/{version}")

    async def adopted(self) -> wire.StoredGates:
        """Returns the version that new runs are judged by."""
        return await self._http.get(wire.StoredGates, "/v1/gates/adopted")

    async def adopt(self, version: int, *, reason: str = "") -> wire.GatesAdoption:
        """Makes new runs be judged by this version."""
        new = wire.NewGatesAdoption(reason=reason)
        return await self._http.call(wire.GatesAdoption, "POST", f"/v1/gates/{version}/adopt", new)

    def adoptions(self) -> AsyncIterator[wire.GatesAdoption]:
        """Yields the ledger of adoptions, newest first."""
        return self._http.pages(wire.GatesAdoption, "/v1/gates/adoptions")
