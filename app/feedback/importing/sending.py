"""Sends the items of a source to the log, counts what became of each, and tells how far it came.

source ─read_source─▶ items ─batches─▶ log ─▶ outcome, position

The command line sends over HTTP, and the import jobs of the server within their process: each has its `FeedbackLog`.
"""

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple, Protocol

from thumbwheel import wire

from app.errors import Invalid
from app.feedback.importing.items import Imported, Item, Registered
from app.feedback.importing.outcomes import ImportOutcome
from app.feedback.importing.printable import printable
from app.feedback.importing.reading import ImportChoices, SourceReading, read_source
from app.feedback.importing.sources import Source
from app.prefetch import ahead

BATCH = 500
NOT_UNDERSTOOD = "file_not_understood"
#: What a tool may change of a completion after it was exported; the registered version stays.
CHANGEABLE = ("/metadata", "/sampling", "/conversation_id", "/checkpoint_id")
_ID_LENGTH = 128
_OLDER = "a newer version of the event is stored"


class RefusedEvent(NamedTuple):
    """An event of a batch that was not stored. `place`: in the batch, from 0."""

    place: int
    conflict: bool
    reason: str


class Recorded(NamedTuple):
    """The outcome of a batch of events."""

    stored: int = 0
    replayed: int = 0
    refused: Sequence[RefusedEvent] = ()


class FeedbackLog(Protocol):
    """The log of one project. Its methods are called from several threads."""

    def register(self, completions: Sequence[Registered]) -> list[str]:
        """Registers completions. Returns of each "stored" or "replayed", or the reason if it is refused."""

    def record(self, events: Sequence[wire.Event]) -> Recorded:
        """Stores events."""

    def stored_versions(self, events: Sequence[wire.Event]) -> list[wire.StoredEvent | str | None]:
        """Returns the stored events with the ids of these, None if there is none, or the reason why none is shown."""


class ItemBatch(NamedTuple):
    """Items of a source that are sent together.

    sent_before  those of them that an interrupted import sent, and counted
    done         the number of items of the source up to here
    progress     the bytes of the source that were read up to here
    """

    items: list[Item]
    sent_before: list[Item]
    done: int
    progress: int

    @property
    def good(self) -> list[Imported | Registered]:
        """The events and completions."""
        return [item for item in self.items if isinstance(item, Imported | Registered)]


class BatchAnswers(NamedTuple):
    """The answers to a batch: for each completion, and for all events together."""

    completions: list[str]
    events: Recorded


class SentItems(NamedTuple):
    """The items of a source whose outcome is counted, and the bytes read up to there."""

    items: int
    bytes: int


class Sending(Protocol):
    """A way to send batches: `Sender` or `DryRun`."""

    def sent(self, batches: Iterable[ItemBatch]) -> Iterator[tuple[ItemBatch, BatchAnswers]]:
        """Sends the batches, and yields each with its answers, in order."""

    def count(self, outcome: ImportOutcome, good: list[Imported | Registered], answers: BatchAnswers) -> None:
        """Counts what became of each item."""


def send_source(
    source: Source,
    chosen: ImportChoices,
    outcome: ImportOutcome,
    sending: Sending,
    *,
    after: int = 0,
    recount: bool = False,
) -> Iterator[SentItems]:
    """Sends the items of a source, while the next ones are read. Yields the position once a batch is counted.

    after    the items that an interrupted import sent: they are read again, as ids depend on them, and not sent
    recount  whether `outcome` lacks these items: their faults are counted, and the others as skipped

    Raises `Invalid` if the source is not understood, unless it is a part of a folder or an archive.
    """
    try:
        with read_source(source, chosen) as reading:
            outcome.unit = reading.unit
            with closing(ahead(_batches(reading, after))) as batches:
                for batch, answers in sending.sent(batches):
                    if recount:
                        outcome.skipped += len(outcome.count_read(batch.sent_before))
                    sending.count(outcome, outcome.count_read(batch.items), answers)
                    yield SentItems(batch.done, batch.progress)
    except Invalid as error:
        if not source.part or error.code != NOT_UNDERSTOOD:
            raise
        outcome.not_understood = printable(error.message)


def _batches(reading: SourceReading, after: int) -> Iterator[ItemBatch]:
    coming, done = iter(reading.items), 0
    while items := list(islice(coming, BATCH)):
        old = max(0, min(len(items), after - done))
        done += len(items)
        yield ItemBatch(items[old:], items[:old], done, reading.progress())


@dataclass
class Sender:
    """Sends the items of files to one log.

    batches    threads that each wait for the answers to one batch
    in_flight  batches whose answers are awaited while others are read. The order in which events arrive decides
               nothing: they have their own times, or count as simultaneous
    """

    log: FeedbackLog
    batches: ThreadPoolExecutor
    in_flight: int

    def sent(self, batches: Iterable[ItemBatch]) -> Iterator[tuple[ItemBatch, BatchAnswers]]:
        """Sends the batches, a few at a time, and yields each with its answers, in order."""
        waiting: deque[tuple[ItemBatch, Future[BatchAnswers]]] = deque()
        for batch in batches:
            waiting.append((batch, self.batches.submit(self.post, batch.good)))
            if len(waiting) > self.in_flight:
                first, answers = waiting.popleft()
                yield first, answers.result()
        for last, answers in waiting:
            yield last, answers.result()

    def post(self, items: list[Imported | Registered]) -> BatchAnswers:
        """Sends the items of one batch."""
        completions = [item for item in items if isinstance(item, Registered)]
        events = [item.event for item in items if isinstance(item, Imported)]
        registered = self.log.register(completions) if completions else []
        return BatchAnswers(registered, self.log.record(events) if events else Recorded())

    def count(self, outcome: ImportOutcome, good: list[Imported | Registered], answers: BatchAnswers) -> None:
        """Counts what became of each item, and sends newer versions of stored events."""
        completions = [item for item in good if isinstance(item, Registered)]
        for completion, fate in zip(completions, answers.completions, strict=True):
            if fate == "stored":
                outcome.registered += 1
            elif fate == "replayed":
                outcome.replayed += 1
            else:
                outcome.reject(completion.line, fate)
        events = [item for item in good if isinstance(item, Imported)]
        outcome.stored += answers.events.stored
        outcome.replayed += answers.events.replayed
        conflicts: list[tuple[Imported, str]] = []
        for place, conflict, reason in answers.events.refused:
            if conflict and events[place].event.occurred_at is not None:
                conflicts.append((events[place], reason))
            else:
                outcome.reject(events[place].line, reason)
        if conflicts:
            self._replace(outcome, conflicts)

    def _replace(self, outcome: ImportOutcome, conflicts: list[tuple[Imported, str]]) -> None:
        """Sends events whose id is stored with another body as newer versions of it, where their time is newer."""
        newer: list[tuple[Imported, wire.Event]] = []
        versions = self.log.stored_versions([item.event for item, _ in conflicts])
        for (item, reason), stored in zip(conflicts, versions, strict=True):
            fate = stored if isinstance(stored, str) else _newer(item.event, stored)
            if fate is None:
                outcome.reject(item.line, reason)
            elif fate == _OLDER:
                outcome.count_silent(item.line, _OLDER)
            elif isinstance(fate, str):
                outcome.reject(item.line, fate)
            else:
                newer.append((item, fate))
        if not newer:
            return
        recorded = self.log.record([event for _, event in newer])
        outcome.superseded += recorded.stored
        outcome.replayed += recorded.replayed
        for place, _, reason in recorded.refused:
            outcome.reject(newer[place][0].line, reason)


def _as_sent(item: Imported | Registered) -> Imported | Registered | str:
    return item


class DryRun:
    """Counts the items as stored and shows the first ones, instead of sending them.

    as_stored  returns the item as the log would store it, or the reason why it would not
    """

    def __init__(self, as_stored: Callable[[Imported | Registered], Imported | Registered | str] = _as_sent) -> None:
        self._as_stored = as_stored

    def sent(self, batches: Iterable[ItemBatch]) -> Iterator[tuple[ItemBatch, BatchAnswers]]:
        for batch in batches:
            yield batch, BatchAnswers([], Recorded())

    def count(self, outcome: ImportOutcome, good: list[Imported | Registered], _answers: BatchAnswers) -> None:
        for item in good:
            stored = self._as_stored(item)
            if isinstance(stored, str):
                outcome.reject(item.line, stored)
                continue
            if isinstance(stored, Imported):
                outcome.stored += 1
            else:
                outcome.registered += 1
            outcome.show(stored)


@contextmanager
def sending_to(log: FeedbackLog, *, in_flight: int) -> Iterator[Sender]:
    """Provides a sender with its threads."""
    with ThreadPoolExecutor(in_flight + 1, thread_name_prefix="batch") as batches:
        yield Sender(log, batches, in_flight)


def _newer(event: wire.Event, stored: wire.StoredEvent | None) -> wire.Event | str | None:
    """Returns the event as a newer version of the stored one, `_OLDER` if it is older, or None if nothing tells."""
    # A stored event without a time of its own shows the time of its receipt.
    if stored is None or event.occurred_at is None or stored.occurred_at == stored.received_at:
        return None
    if event.occurred_at < stored.occurred_at:
        return _OLDER
    if event.occurred_at == stored.occurred_at:
        return None
    return event.model_copy(update={"event_id": _version_id(event), "supersedes": event.event_id})


def _version_id(event: wire.Event) -> str:
    """Derives the id of a newer version, which another import of it gives again."""
    digest = hashlib.sha256(event.model_dump_json(exclude_none=True).encode()).hexdigest()[:16]
    return f"{(event.event_id or '')[: _ID_LENGTH - len(digest) - 1]}~{digest}"


def fate_of(item: wire.CompletionBatchItem) -> str:
    """Returns "stored" or "replayed", or the reason if a completion is refused. One that differs from the registered
    one only in what tools change after an export is replayed."""
    if item.differs and all(pointer.startswith(CHANGEABLE) for pointer in item.differs):
        return "replayed"
    return item.error or item.status
