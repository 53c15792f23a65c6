# Written by tools/async_client.py from ../client/runs.py: change that file, then run `make async-client`.
"""`AsyncRuns`: retraining jobs, their events, and the decisions to start them."""

from collections.abc import AsyncIterator
from uuid import UUID

from thumbwheel import wire
from thumbwheel.async_client.http import AsyncHttp
from thumbwheel.async_client.run_stream import follow


class AsyncRuns:
    def __init__(self, http: AsyncHttp) -> None:
        self._http = http

    async def start(self, new: wire.NewRun | None = None) -> wire.Run:
        return await self._http.call(wire.Run, "POST", "/v1/runs", new or wire.NewRun(), once=True)

    def list(self) -> AsyncIterator[wire.Run]:
        """Yields the runs, newest first."""
        return self._http.pages(wire.Run, "/v1/runs")

    async def get(self, run_id: UUID) -> wire.Run:
        return await self._http.get(wire.Run, f"/v1/runs/{run_id}")

    def follow(
        self, run_id: UUID, *, last_event_id: str | None = None, history: bool = True
    ) -> AsyncIterator[wire.AnyRunEvent]:
        """Yields the events of a run as they happen, until it has ended; resumes after a broken connection.

        last_event_id  starts after the event with this id
        history        False starts with the current state, unless `last_event_id` is given
        """
        return follow(self._http, run_id, last_event_id, history=history)

    async def metrics(self, run_id: UUID) -> wire.Metrics:
        """Returns the figures of the training steps."""
        return await self._http.get(wire.Metrics, f"/v1/runs/{run_id}/metrics")

    async def cancel(self, run_id: UUID) -> wire.Run:
        return await self._http.call(wire.Run, "POST", f"/v1/runs/{run_id}/cancel", safe=True)

    async def pause(self, run_id: UUID) -> wire.Run:
        """Makes the worker save its state and release the run, which then waits until it is resumed."""
        return await self._http.call(wire.Run, "POST", f"/v1/runs/{run_id}/pause", safe=True)

    async def resume(self, run_id: UUID) -> wire.Run:
        """Continues a paused run from its saved state."""
        return await self._http.call(wire.Run, "POST", f"/v1/runs/{run_id}/resume", safe=True)

    async def retry(self, run_id: UUID, again: wire.RunAgain | None = None) -> wire.Run:
        """Starts a run with the inputs of a failed or cancelled one; it continues from the saved state if it can."""
        return await self._http.call(wire.Run, "POST", f"/v1/runs/{run_id}/retry", again or wire.RunAgain(), once=True)

    async def reproduce(self, run_id: UUID, again: wire.RunAgain | None = None) -> wire.Run:
        """Starts a run from scratch on the snapshot and recipe of an ended one, and compares the two results."""
        return await self._http.call(
            wire.Run, "POST", f"/v1/runs/{run_id}/reproduce", again or wire.RunAgain(), once=True
        )

    def trigger_decisions(self) -> AsyncIterator[wire.TriggerDecision]:
        """Yields the decisions to start a run automatically, or not to, newest first."""
        return self._http.pages(wire.TriggerDecision, "/v1/trigger-decisions")
