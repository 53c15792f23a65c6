# Written by tools/async_client.py from ../client/events.py: change that file, then run `make async-client`.
"""`AsyncEvents`: the feedback log."""

from collections.abc import AsyncIterator, Iterable, Iterator
from urllib.parse import quote
from uuid import uuid4

from thumbwheel import wire
from thumbwheel.async_client.http import AsyncHttp

#: The largest batch, in events and roughly in bytes: well below the limits of the API.
BATCH_EVENTS = 500
BATCH_BYTES = 8 * 1024 * 1024


class AsyncEvents:
    def __init__(self, http: AsyncHttp) -> None:
        self._http = http

    async def record(self, event: wire.Event) -> wire.EventReceipt:
        """Stores one event. An event without an id gets one, so that a retry stores nothing twice."""
        return await self._http.call(wire.EventReceipt, "POST", "/v1/feedback", _with_id(event), safe=True)

    async def record_many(self, events: Iterable[wire.Event]) -> wire.BatchReceipt:
        """Stores events in few requests. Invalid items are reported; all others are stored."""
        stored = replayed = rejected = 0
        items: list[wire.BatchItem] = []
        for batch in _batches(events):
            answer = await self._http.send("POST", "/v1/feedback/batch", lines=batch, safe=True)
            receipt = wire.BatchReceipt.model_validate_json(answer.content)
            first = len(items)
            items += receipt.items if first == 0 else [_after(item, first) for item in receipt.items]
            stored, replayed = stored + receipt.stored, replayed + receipt.replayed
            rejected += receipt.rejected
        return wire.BatchReceipt(stored=stored, replayed=replayed, rejected=rejected, items=items)

    def list(self, **filters: str) -> AsyncIterator[wire.StoredEvent]:
        """Yields the events that match, newest first."""
        return self._http.pages(wire.StoredEvent, "/v1/feedback", filters)

    async def receipt(self, event_id: str) -> wire.Receipt:
        """Returns the label that resulted from an event, and the snapshots, runs and checkpoints that rest on it."""
        return await self._http.get(wire.Receipt, f"/v1/feedback/{quote(event_id, safe='')}/receipt")


def _after(item: wire.BatchItem, first: int) -> wire.BatchItem:
    return item.model_copy(update={"index": item.index + first})


def _with_id(event: wire.Event) -> wire.Event:
    return event if event.event_id is not None else event.model_copy(update={"event_id": str(uuid4())})


def _batches(events: Iterable[wire.Event]) -> Iterator[bytes]:
    """Yields the bodies of batches, with one event per line."""
    batch: list[bytes] = []
    size = 0
    for event in events:
        line = _with_id(event).model_dump_json(exclude_none=True).encode()
        if batch and (len(batch) == BATCH_EVENTS or size + len(line) > BATCH_BYTES):
            yield b"\n".join(batch)
            batch, size = [], 0
        batch.append(line)
        size += len(line)
    if batch:
        yield b"\n".join(batch)
