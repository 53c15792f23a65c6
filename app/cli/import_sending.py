"""The log of a project over HTTP, as an import sends to it."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from thumbwheel import Client, wire

    from app.feedback.importing import Registered
    from app.feedback.importing.sending import Recorded, Sender

#: Batches whose answers are awaited while others are read.
IN_FLIGHT = 2
#: Threads that each look for one stored event.
CONNECTIONS = 16
_FORBIDDEN = 403
_MOST_VERSIONS = 200


@dataclass
class ClientLog:
    """The log of a client's project. `connections`: threads for single requests."""

    client: "Client"
    connections: ThreadPoolExecutor

    def register(self, completions: "Sequence[Registered]") -> list[str]:
        """Registers completions. Returns of each "stored" or "replayed", or the reason if it is refused."""
        from app.feedback.importing.sending import fate_of

        receipt = self.client.completions.register_many(item.identified for item in completions)
        return [fate_of(item) for item in receipt.items]

    def record(self, events: "Sequence[wire.Event]") -> "Recorded":
        """Stores events."""
        from app.feedback.importing.sending import Recorded, RefusedEvent

        receipt = self.client.events.record_many(events)
        refused = [
            RefusedEvent(item.index, item.status == "conflict", " ".join(filter(None, (item.pointer, item.error))))
            for item in receipt.items
            if item.error
        ]
        return Recorded(receipt.stored, receipt.replayed, refused)

    def stored_versions(self, events: "Sequence[wire.Event]") -> "list[wire.StoredEvent | str | None]":
        """Returns the stored events with the ids of these, None if there is none, or the reason why none is shown."""
        return list(self.connections.map(self._stored_version, events))

    def _stored_version(self, event: "wire.Event") -> "wire.StoredEvent | str | None":
        from thumbwheel import ApiError

        try:
            listed = self.client.events.list(completion_id=event.completion_id, actor=event.actor)
            return next((old for old in islice(listed, _MOST_VERSIONS) if old.event_id == event.event_id), None)
        except ApiError as error:
            if error.status != _FORBIDDEN:
                raise
            return (
                f"the event {event.event_id} is stored with another body, and this key may not read which is newer: "
                "import with a key that has the scope feedback:read"
            )


@contextmanager
def sending(client: "Client") -> "Iterator[Sender]":
    """Provides a sender to the client's project, with its threads."""
    from app.feedback.importing.sending import sending_to

    with (
        ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="request") as connections,
        sending_to(ClientLog(client, connections), in_flight=IN_FLIGHT) as sender,
    ):
        yield sender
