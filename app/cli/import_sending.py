"""Sends imported events and completions, and replaces older versions of an event."""

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from app.cli.import_outcomes import ImportOutcome

if TYPE_CHECKING:
    from thumbwheel import ApiError, Client, wire

    from app.feedback.importing import Imported, Registered

#: Batches whose answers are awaited while others are read. The order in which events arrive decides nothing: they have
#: their own times, or count as simultaneous.
IN_FLIGHT = 2
#: Completions are registered one by one; the server commits those that arrive together at once.
CONNECTIONS = 16
#: BatchAnswers that concern one body alone; others, such as a wrong key, end the import.
OF_A_BODY = frozenset({400, 409, 413, 422})
#: What a tool may change of a completion after it was exported; the registered version stays.
_CHANGEABLE = ("/metadata", "/sampling", "/conversation_id", "/checkpoint_id")
_FORBIDDEN = 403
_MOST_VERSIONS = 200
_ID_LENGTH = 128


class ItemBatch(NamedTuple):
    """Items to send.

    last      the number of the last record of which something is in this batch
    progress  the bytes of the source that were read up to here
    """

    items: "list[Imported | Registered]"
    last: int
    progress: int


class BatchAnswers(NamedTuple):
    """The answers to a batch: for each completion, and for all events together."""

    completions: list[str]
    events: "wire.BatchReceipt | None"


@dataclass
class Sender:
    """Sends the items of files to one project.

    batches      threads that each wait for the answers to one batch
    connections  threads for single requests
    """

    client: "Client"
    batches: ThreadPoolExecutor
    connections: ThreadPoolExecutor

    def sent(self, batches: Iterable[ItemBatch]) -> Iterator[tuple[ItemBatch, BatchAnswers]]:
        """Sends the batches, a few at a time, and yields each with its answers, in order."""
        waiting: deque[tuple[ItemBatch, Future[BatchAnswers]]] = deque()
        for batch in batches:
            waiting.append((batch, self.batches.submit(self.post, batch.items)))
            if len(waiting) > IN_FLIGHT:
                first, answers = waiting.popleft()
                yield first, answers.result()
        for last, answers in waiting:
            yield last, answers.result()

    def post(self, items: "list[Imported | Registered]") -> BatchAnswers:
        """Sends the items of one batch."""
        from app.feedback.importing import Imported, Registered

        completions = [item for item in items if isinstance(item, Registered)]
        events = [item.event for item in items if isinstance(item, Imported)]
        registered = list(self.connections.map(self._register, completions))
        return BatchAnswers(registered, self.client.events.record_many(events) if events else None)

    def count(self, outcome: ImportOutcome, items: "list[Imported | Registered]", answers: BatchAnswers) -> None:
        """Counts what became of each item, and sends newer versions of stored events."""
        from app.feedback.importing import Imported, Registered

        completions = [item for item in items if isinstance(item, Registered)]
        for completion, fate in zip(completions, answers.completions, strict=True):
            if fate == "stored":
                outcome.registered += 1
            elif fate == "replayed":
                outcome.replayed += 1
            else:
                outcome.reject(completion.line, fate)
        if answers.events is None:
            return
        events = [item for item in items if isinstance(item, Imported)]
        outcome.stored += answers.events.stored
        outcome.replayed += answers.events.replayed
        conflicts: list[tuple[Imported, str]] = []
        for answer in answers.events.items:
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
        fates = self.connections.map(lambda conflict: self._newer(conflict[0].event), conflicts)
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


class DryRun:
    """Counts the items as stored and shows the first ones, instead of sending them."""

    def sent(self, batches: Iterable[ItemBatch]) -> Iterator[tuple[ItemBatch, BatchAnswers]]:
        for batch in batches:
            yield batch, BatchAnswers([], None)

    def count(self, outcome: ImportOutcome, items: "list[Imported | Registered]", _answers: BatchAnswers) -> None:
        from app.feedback.importing import Imported

        events = sum(isinstance(item, Imported) for item in items)
        outcome.stored += events
        outcome.registered += len(items) - events
        for item in items:
            outcome.show(item)


@contextmanager
def sending(client: "Client") -> Iterator[Sender]:
    """Provides a sender with its threads."""
    with (
        ThreadPoolExecutor(IN_FLIGHT + 1, thread_name_prefix="batch") as batches,
        ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="request") as connections,
    ):
        yield Sender(client, batches, connections)


def _version_id(event: "wire.Event") -> str:
    """Derives the id of a newer version, which another import of it gives again."""
    digest = hashlib.sha256(event.model_dump_json(exclude_none=True).encode()).hexdigest()[:16]
    return f"{(event.event_id or '')[: _ID_LENGTH - len(digest) - 1]}~{digest}"


def _differs_in_passing(error: "ApiError") -> bool:
    details = error.problem.get("details")
    differs = details.get("differs") if isinstance(details, dict) else None
    return isinstance(differs, list) and bool(differs) and all(str(at).startswith(_CHANGEABLE) for at in differs)
