"""Clients that start run after run, in a thread per project. They ignore the faults: the library retries."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from thumbwheel import wire
from thumbwheel.client import Client
from thumbwheel.errors import ApiError, ClientError, Unreachable

from tests.chaos.runs.plan import Wish
from tests.chaos.runs.watching import ENDED

#: The API and Postgres may be away for half a minute.
TRIES = 14
LOOK_EVERY_SECONDS = 1.0
PAUSE_SECONDS = 2.0


@dataclass
class Tickets:
    """The runs to request, with an act on each, and the runs that the API accepted."""

    wishes: Sequence[Wish]
    accepted: dict[UUID, str] = field(default_factory=dict)  # run → the act on it
    closed: bool = False
    errors: list[str] = field(default_factory=list)
    _next: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self) -> Wish | None:
        with self._lock:
            if self.closed or self._next >= len(self.wishes):
                return None
            self._next += 1
            return self.wishes[self._next - 1]

    @property
    def taken(self) -> int:
        return self._next


class Desk(threading.Thread):
    """Starts one run after the other until there are no more tickets, and waits for the end of each."""

    def __init__(self, client: Client, tickets: Tickets) -> None:
        super().__init__(name=f"desk of {client.project_id}", daemon=True)
        self.client = client
        self.tickets = tickets
        self.stopping = threading.Event()

    def run(self) -> None:
        to_retry: UUID | None = None
        try:
            while not self.stopping.is_set() and (wish := self.tickets.take()) is not None:
                started = [(self._start(wish, to_retry), wish)]
                if wish.another and (next_wish := self.tickets.take()) is not None:
                    started.append((self._start(next_wish, None, behind=True), next_wish))
                to_retry = None
                for run_id, its_wish in started:
                    ended = self._see_to_its_end(run_id, its_wish)
                    if ended in ("failed", "cancelled") and its_wish.again:
                        to_retry = run_id
        except ClientError as error:
            self.tickets.errors.append(f"{self.name}: {type(error).__name__}: {error.message}")

    def _start(self, wish: Wish, to_retry: UUID | None, *, behind: bool = False) -> UUID:
        """Starts or retries a run and returns its id. If the API does not answer, the next call carries another
        Idempotency-Key; the refusal then names the run that the call before may have started.
        """
        while True:
            try:
                if to_retry is not None:
                    run = self.client.runs.retry(to_retry)
                else:
                    run = self.client.runs.start(wire.NewRun(queue=behind))
            except ApiError as error:
                if error.code != "run_active":
                    raise
                run = self.client.runs.get(UUID(error.problem["details"]["active_run_id"]))
            except Unreachable:
                time.sleep(LOOK_EVERY_SECONDS)
                continue
            how = ", ".join(["retried"] * (to_retry is not None) + ["queued behind"] * behind)
            self.tickets.accepted[run.id] = f"{wish.what} {how}".strip()
            return run.id

    def _see_to_its_end(self, run_id: UUID, wish: Wish) -> str:
        wished = wish.what == "nothing"
        while not self.stopping.wait(LOOK_EVERY_SECONDS):
            run = self.client.runs.get(run_id)
            if run.state in ENDED:
                return run.state
            if not wished and run.state == wish.at:
                wished = True
                self._do(run, wish)
        return ""

    def _do(self, run: wire.Run, wish: Wish) -> None:
        try:
            if wish.what == "cancel":
                self.client.runs.cancel(run.id)
            else:
                self.client.runs.pause(run.id)
                self.stopping.wait(PAUSE_SECONDS)
                self.client.runs.resume(run.id)
        except ApiError as error:
            if error.status != 409:  # the run has ended meanwhile
                raise
