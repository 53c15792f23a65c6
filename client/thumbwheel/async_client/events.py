# Written by tools/async_client.py from ../client/events.py: change that file, then run `make async-client`.
"""`AsyncEvents`: the feedback log."""

from collections.abc import AsyncIterator, Iterable
from urllib.parse import quote
from uuid import uuid4

from thumbwheel import wire
from thumbwheel.async_client.http import AsyncHttp
from thumbwheel.client.batches import batches, joined


class AsyncEvents:
    def __init__(self, http: AsyncHttp) -> None:
        self._http = http

    async def record(self, event: wire.Event) -> wire.EventReceipt:
        """Stores one event. An event without an id gets one, so that a retry stores nothing twice."""
        return await self._http.call(wire.EventReceipt, "POST", "/v1/feedback", _with_id(event), safe=True)

    async def record_many(self, events: Iterable[wire.Event]) -> wire.BatchReceipt:
        """Stores events in few requests. Invalid items are reported; all others are stored."""
        receipts: list[wire.BatchReceipt] = []
        for batch in batches(_with_id(event).model_dump_json(exclude_none=True).encode() for event in events):
            answer = await self._http.send("POST", "/v1/feedback/batch", lines=batch, safe=True)
            receipts.append(wire.BatchReceipt.model_validate_json(answer.content))
        return joined(wire.BatchReceipt, receipts)

    def list(self, **filters: str) -> AsyncIterator[wire.StoredEvent]:
        """Yields the events that match, newest first."""
        return self._http.pages(wire.StoredEvent, "/v1/feedback", filters)

    async def receipt(self, event_id: str) -> wire.Receipt:
        """Returns the label that resulted from an event, and the snapshots, runs and checkpoints that rest on it."""
        return await self._http.get(wire.Receipt, f"/v1/feedback/{quote(event_id, safe='')}/receipt")


def _with_id(event: wire.Event) -> wire.Event:
    return event if event.event_id is not None else event.model_copy(update={"event_id": str(uuid4())})
