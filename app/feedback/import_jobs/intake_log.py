"""The log of a project for an import in this process: its bodies go the way of `POST /v1/feedback/batch`."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from time import perf_counter
from typing import Any

from anyio.from_thread import BlockingPortal, start_blocking_portal
from thumbwheel import wire

from app import settings
from app.access.limits import Limit
from app.access.rate_limiter import RateLimiter
from app.capacity import Lane
from app.database import Purpose, transaction
from app.errors import NotFound, RateLimited
from app.feedback import service as feedback
from app.feedback.import_jobs.leases import service as leases
from app.feedback.import_jobs.leases.lease import ClaimedImport
from app.feedback.import_jobs.pace import Pace
from app.feedback.importing import Registered
from app.feedback.importing.sending import Recorded, RefusedEvent, fate_of
from app.feedback.ingest.group_commit import intake
from app.feedback.ingest.kinds import COMPLETIONS, EVENTS
from app.feedback.ingest.receiver import Receiver

#: Completions that are registered together.
REGISTERED_AT_ONCE = 100


class IntakeLog:
    """The log of the project of a claimed import, used by one thread at a time.

    check  called now and then while this waits; it raises an error to stop
    """

    def __init__(
        self,
        portal: BlockingPortal,
        receiver: Receiver,
        limiter: RateLimiter,
        claimed: ClaimedImport,
        check: Callable[[], None],
    ) -> None:
        self._portal = portal
        self._receiver = receiver
        self._limiter = limiter
        self._project = claimed.project
        self._limits = [(Limit(**limit), "") for limit in claimed.limits]
        self._check = check
        self._pace = Pace()
        self._uncounted = claimed.uncounted
        self._counted: set[str] = set()

    @property
    def catching_up(self) -> bool:
        """Returns whether a lost process may have stored what comes next."""
        return self._uncounted is not None

    def register(self, completions: Sequence[Registered]) -> list[str]:
        """Registers completions. Returns of each "stored" or "replayed", or the reason if it is refused."""
        fates = self._portal.call(self._register_all, completions)
        if self._uncounted is not None:
            replayed = [item.completion_id for item, fate in zip(completions, fates, strict=True) if fate == "replayed"]
            for index in self._lost([item.completion_id for item in completions], replayed, events=False):
                fates[index] = "stored"
        return fates

    def record(self, events: Sequence[wire.Event]) -> Recorded:
        """Stores events."""
        answers = self._portal.call(self._store_all, [_body(event) for event in events])
        replayed = [str(answer["event_id"]) for answer in answers if answer["status"] == "replayed"]
        stored = sum(answer["status"] == "stored" for answer in answers)
        lost = len(self._lost([event.event_id or "" for event in events], replayed, events=True)) if replayed else 0
        if stored:
            # Items are stored in their order: those behind the first new one were not sent before.
            self._uncounted = None
        refused = [
            RefusedEvent(
                index, answer["status"] == "conflict", " ".join(filter(None, (answer["pointer"], answer["error"])))
            )
            for index, answer in enumerate(answers)
            if "error" in answer
        ]
        return Recorded(stored + lost, len(replayed) - lost, refused)

    def stored_versions(self, events: Sequence[wire.Event]) -> list[wire.StoredEvent | str | None]:
        """Returns the stored events with the ids of these, None where there is none."""
        with transaction(read_only=True) as session:
            found: list[wire.StoredEvent | str | None] = []
            for event in events:
                try:
                    found.append(feedback.event(session, self._project, event.event_id or ""))
                except NotFound:
                    found.append(None)
            return found

    def _lost(self, ids: Sequence[str], replayed: Sequence[str], *, events: bool) -> list[int]:
        """Returns the places of the items that a lost process stored and did not count: they count as stored, once."""
        if self._uncounted is None or not replayed:
            return []
        with transaction(read_only=True) as session:
            if events:
                lost = leases.received_between(session, self._project, self._uncounted, event_ids=replayed)
            else:
                lost = leases.registered_between(session, self._project, self._uncounted, completion_ids=replayed)
        places = []
        kind = "event" if events else "completion"
        for place, own_id in enumerate(ids):
            if own_id in lost and f"{kind} {own_id}" not in self._counted:
                self._counted.add(f"{kind} {own_id}")
                places.append(place)
        return places

    async def _store_all(self, bodies: Sequence[bytes]) -> list[dict[str, Any]]:
        answers: list[dict[str, Any]] = []
        while len(answers) < len(bodies):
            part = bodies[len(answers) : len(answers) + self._pace.events]
            await self._count(len(part))
            began = perf_counter()
            size = sum(map(len, part))
            answers += await self._receiver.store_items(EVENTS, self._project, part, size, at_once=len(part))
            await asyncio.sleep(self._pace.pause_after(perf_counter() - began))
            self._check()
        return answers

    async def _register_all(self, completions: Sequence[Registered]) -> list[str]:
        fates: list[str] = []
        for start in range(0, len(completions), REGISTERED_AT_ONCE):
            part = [_body(item.identified) for item in completions[start : start + REGISTERED_AT_ONCE]]
            await self._count(len(part))
            began = perf_counter()
            answers = await self._receiver.store_items(COMPLETIONS, self._project, part, sum(map(len, part)))
            fates += [fate_of(wire.CompletionBatchItem.model_validate(answer)) for answer in answers]
            await asyncio.sleep(self._pace.pause_after(perf_counter() - began))
            self._check()
        return fates

    async def _count(self, bodies: int) -> None:
        """Counts bodies for the limits of the key, and waits while one of them is reached."""
        while True:
            try:
                await self._limiter.count(self._limits, bodies)
            except RateLimited as limited:
                for _ in range(int(limited.details["retry_after_seconds"])):
                    await asyncio.sleep(1)
                    self._check()
            else:
                return


@contextmanager
def intake_log(claimed: ClaimedImport, check: Callable[[], None]) -> Iterator[IntakeLog]:
    """Provides the log, with an event loop in a thread and a connection to Postgres."""
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(_receiver()) as (receiver, limiter),
    ):
        yield IntakeLog(portal, receiver, limiter, claimed, check)


@asynccontextmanager
async def _receiver() -> AsyncIterator[tuple[Receiver, RateLimiter]]:
    lane = Lane(Purpose.HOT)
    limiter = RateLimiter(settings.current().need_redis())
    try:
        async with intake(settings.current().need_libpq_database()) as way_in:
            yield Receiver(way_in, lane, limiter), limiter
    finally:
        await limiter.close()
        lane.close()


def _body(item: wire.Event | wire.IdentifiedCompletion) -> bytes:
    return item.model_dump_json(exclude_none=True).encode()
