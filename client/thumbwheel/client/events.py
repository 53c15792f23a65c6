"""`Events`: the feedback log."""

from collections.abc import Iterable, Iterator
from urllib.parse import quote
from uuid import uuid4

from thumbwheel import wire
from thumbwheel.client.batches import batches, joined
from thumbwheel.client.http import Http


class Events:
    def __init__(self, http: Http) -> None:
        self._http = http

    def record(self, event: wire.Event) -> wire.EventReceipt:
        """Stores one event. An event without an id gets one, so that a retry stores nothing twice."""
        return self._http.call(wire.EventReceipt, "POST", "/v1/feedback", _with_id(event), safe=True)

    def record_many(self, events: Iterable[wire.Event]) -> wire.BatchReceipt:
        """Stores events in few requests. Invalid items are reported; all others are stored."""
        receipts: list[wire.BatchReceipt] = []
        for batch in batches(_with_id(event).model_dump_json(exclude_none=True).encode() for event in events):
            answer = self._http.send("POST", "/v1/feedback/batch", lines=batch, safe=True)
            receipts.append(wire.BatchReceipt.model_validate_json(answer.content))
        return joined(wire.BatchReceipt, receipts)

    def list(self, **filters: str) -> Iterator[wire.StoredEvent]:
        """Yields the events that match, newest first."""
        return self._http.pages(wire.StoredEvent, "/v1/feedback", filters)

    def receipt(self, event_id: str) -> wire.Receipt:
        """Returns the label that resulted from an event, and the snapshots, runs and checkpoints that rest on it."""
        return self._http.get(wire.Receipt, f"/v1/feedback/{quote(event_id, safe='')}/receipt")


def _with_id(event: wire.Event) -> wire.Event:
    return event if event.event_id is not None else event.model_copy(update={"event_id": str(uuid4())})
