"""`Comparisons`: arms compared on one snapshot, and sweeps over recipe fields."""

from collections.abc import Iterator
from uuid import UUID

from thumbwheel import wire
from thumbwheel.client.http import Http


class Comparisons:
    def __init__(self, http: Http) -> None:
        self._http = http

    def start(self, new: wire.NewComparison) -> wire.ComparisonJob:
        return self._http.call(wire.ComparisonJob, "POST", "/v1/comparisons", new, once=True)

    def sweep(self, new: wire.NewSweep) -> wire.ComparisonJob:
        """Starts a search of a space of recipe fields."""
        return self._http.call(wire.ComparisonJob, "POST", "/v1/sweeps", new, once=True)

    def list(self) -> Iterator[wire.ComparisonJob]:
        """Yields the comparisons and sweeps, newest first."""
        return self._http.pages(wire.ComparisonJob, "/v1/comparisons")

    def get(self, comparison_id: UUID) -> wire.ComparisonJob:
        return self._http.get(wire.ComparisonJob, f"/v1/comparisons/{comparison_id}")

    def cancel(self, comparison_id: UUID) -> wire.ComparisonJob:
        return self._http.call(wire.ComparisonJob, "POST", f"/v1/comparisons/{comparison_id}/cancel", safe=True)
