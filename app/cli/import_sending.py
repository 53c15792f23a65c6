"""The log of a project over HTTP, as an import sends to it."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from thumbwheel import ApiError, Client, wire

    from app.feedback.importing import Registered
    from app.feedback.importing.sending import Recorded, Sender

#: Batches whose answers are awaited while others are read.
IN_FLIGHT = 2
#: Completions are registered one by one; the server commits those that arrive together at once.
CONNECTIONS = 16
#: Answers that concern one body alone; others, such as a wrong key, end the import.
OF_A_BODY = frozenset({400, 409, 413, 422})
_FORBIDDEN = 403
_MOST_VERSIONS = 200


@dataclass
class ClientLog:
    """The log of a client's project. `connections`: threads for single requests."""

    client: "Client"
    connections: ThreadPoolExecutor

    def register(self, completions: "Sequence[Registered]") -> list[str]:
        """Registers completions. Returns of each "stored" or "replayed", or the reason if it is refused."""
        return list(self.connections.map(self._register, completions))

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

    def _register(self, item: "Registered") -> str:
        from thumbwheel import ApiError

        from app.feedback.importing.sending import differs_in_passing

        try:
            return self.client.completions.register(item.completion_id, item.completion).status
        except ApiError as error:
            if error.status not in OF_A_BODY:
                raise
            return "replayed" if differs_in_passing(_differences(error)) else error.message

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


def _differences(error: "ApiError") -> list[str]:
    details = error.problem.get("details")
    differs = details.get("differs") if isinstance(details, dict) else None
    return [str(pointer) for pointer in differs] if isinstance(differs, list) else []
