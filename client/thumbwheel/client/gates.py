"""`Gates`: versions of the gates, and which of them is adopted."""

from collections.abc import Iterator, Sequence

from thumbwheel import wire
from thumbwheel.client.http import Http


class Gates:
    def __init__(self, http: Http) -> None:
        self._http = http

    def create(self, gates: wire.GateChoice, *, note: str = "") -> wire.StoredGates:
        """Stores a document, or a preset by its name, as the next version, or returns the version that is equal."""
        new = wire.NewGates(gates=gates, note=note)
        return self._http.call(wire.StoredGates, "POST", "/v1/gates", new, safe=True)

    def list(self) -> Iterator[wire.StoredGates]:
        """Yields the versions, newest first."""
        return self._http.pages(wire.StoredGates, "/v1/gates")

    def presets(self) -> Sequence[wire.GateDocument]:
        """Returns the documents that come with the server."""
        items = self._http.send("GET", "/v1/gates/presets", safe=True).json()
        return [wire.GateDocument.model_validate(item) for item in items]

    def get(self, version: int) -> wire.StoredGates:
        return self._http.get(wire.StoredGates, f"/v1/gates/{version}")

    def adopted(self) -> wire.StoredGates:
        """Returns the version that new runs are judged by."""
        return self._http.get(wire.StoredGates, "/v1/gates/adopted")

    def adopt(self, version: int, *, reason: str = "") -> wire.GatesAdoption:
        """Makes new runs be judged by this version."""
        new = wire.NewGatesAdoption(reason=reason)
        return self._http.call(wire.GatesAdoption, "POST", f"/v1/gates/{version}/adopt", new)

    def adoptions(self) -> Iterator[wire.GatesAdoption]:
        """Yields the ledger of adoptions, newest first."""
        return self._http.pages(wire.GatesAdoption, "/v1/gates/adoptions")
