"""Sends imported events and completions, and replaces older versions of an event."""

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from app.cli.import_outcomes import ImportOutcome

if TYPE_CHECKING:
    from thumbwheel import ApiError, Client, wire

    from app.feedback.importing import Imported, Registered

#: Completions are registered one by one; the server commits those that arrive together at once.
CONNECTIONS = 16
#: Answers that concern one body alone; others, such as a wrong key, end the import.
OF_A_BODY = frozenset({400, 409, 413, 422})
#: What a tool may change of a completion after it was exported; the registered version stays.
_CHANGEABLE = ("/metadata", "/sampling", "/conversation_id", "/checkpoint_id")
_FORBIDDEN = 403
_MOST_VERSIONS = 200
_ID_LENGTH = 128


@dataclass
class Sender:
    """Sends the items of files to one project."""

    client: "Client"
    pool: ThreadPoolExecutor

    def send(self, outcome: ImportOutcome, items: "list[Imported | Registered]") -> None:
        """Sends the items, and counts what became of each."""
        from app.feedback.importing import Imported, Registered

        completions = [item for item in items if isinstance(item, Registered)]
        for completion, fate in zip(completions, self.pool.map(self._register, completions), strict=True):
            if fate == "stored":
                outcome.registered += 1
            elif fate == "replayed":
                outcome.replayed += 1
            else:
                outcome.reject(completion.line, fate)
        events = [item for item in items if isinstance(item, Imported)]
        if not events:
            return
        receipt = self.client.events.record_many(item.event for item in events)
        outcome.stored += receipt.stored
        outcome.replayed += receipt.replayed
        conflicts: list[tuple[Imported, str]] = []
        for answer in receipt.items:
            if answer.error:
                item, reason = events[answer.index], " ".join(filter(None, (answer.pointer, answer.error)))
                if answer.status == "conflict" and item.event.occurred_at is not None:
                    conflicts.append((item, reason))
                else:
                    outcome.reject(item.line, reason)
        if conflicts:
            self._replace(outcome, conflicts)

    def _register(self, item: "Registered") -> str:
        """Registers a completion. Returns "stored" or "replayed", or the reason if it is refused."""
        from thumbwheel import ApiError

        try:
            return self.client.completions.register(item.completion_id, item.completion).status
        except ApiError as error:
            if error.status not in OF_A_BODY:
                raise
            return "replayed" if _differs_in_passing(error) else error.message

    def _replace(self, outcome: ImportOutcome, conflicts: "list[tuple[Imported, str]]") -> None:
        """Sends events whose id is stored with another body as newer versions of it, where their time is newer."""
        newer: list[tuple[Imported, wire.Event]] = []
        fates = self.pool.map(lambda conflict: self._newer(conflict[0].event), conflicts)
        for (item, reason), fate in zip(conflicts, fates, strict=True):
            if fate is None:
                outcome.reject(item.line, reason)
            elif isinstance(fate, str):
                if fate == _OLDER:
                    outcome.count_silent(item.line, fate)
                else:
                    outcome.reject(item.line, fate)
            else:
                newer.append((item, fate))
        if not newer:
            return
        receipt = self.client.events.record_many(event for _, event in newer)
        outcome.superseded += receipt.stored
        outcome.replayed += receipt.replayed
        for answer in receipt.items:
            if answer.error:
                outcome.reject(newer[answer.index][0].line, answer.error)

    def _newer(self, event: "wire.Event") -> "wire.Event | str | None":
        """Returns the event as a newer version of the stored one with its id; otherwise the reason, or None."""
        from thumbwheel import ApiError

        try:
            listed = self.client.events.list(completion_id=event.completion_id, actor=event.actor)
            stored = next((old for old in islice(listed, _MOST_VERSIONS) if old.event_id == event.event_id), None)
        except ApiError as error:
            if error.status != _FORBIDDEN:
                raise
            return (
                f"the event {event.event_id} is stored with another body, and this key may not read which is newer: "
                "import with a key that has the scope feedback:read"
            )
        # A stored event without a time of its own shows the time of its receipt.
        if stored is None or event.occurred_at is None or stored.occurred_at == stored.received_at:
            return None
        if event.occurred_at < stored.occurred_at:
            return _OLDER
        if event.occurred_at == stored.occurred_at:
            return None
        return event.model_copy(update={"event_id": _version_id(event), "supersedes": event.event_id})


_OLDER = "a newer version of the event is stored"


@contextmanager
def sending(client: "Client") -> Iterator[Sender]:
    """Provides a sender with the connections for completions."""
    with ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="register") as pool:
        yield Sender(client, pool)


def _version_id(event: "wire.Event") -> str:
    """Derives the id of a newer version, which another import of it gives again."""
    digest = hashlib.sha256(event.model_dump_json(exclude_none=True).encode()).hexdigest()[:16]
    return f"{(event.event_id or '')[: _ID_LENGTH - len(digest) - 1]}~{digest}"


def _differs_in_passing(error: "ApiError") -> bool:
    details = error.problem.get("details")
    differs = details.get("differs") if isinstance(details, dict) else None
    return isinstance(differs, list) and bool(differs) and all(str(at).startswith(_CHANGEABLE) for at in differs)
