"""`Results`: what became of the items of a queue: counted, logged, and told to the product."""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from thumbwheel.errors import NotDelivered
from thumbwheel.feedback_queue.buffer import Item
from thumbwheel.feedback_queue.delivery import Result, Undelivered
from thumbwheel.feedback_queue.notices import Notices

log = logging.getLogger("thumbwheel")


@dataclass(frozen=True)
class QueueFigures:
    """Figures of a queue since its process began.

    waiting, waiting_bytes  items that are not sent yet, and their bytes in memory
    stored, replayed        items that the API has stored, or had stored before
    refused                 items that the API refused, or that could not be sent
    dropped                 items for which there was no room
    lost                    items that waited when the queue was closed
    """

    waiting: int
    waiting_bytes: int
    stored: int
    replayed: int
    refused: int
    dropped: int
    lost: int


class Results:
    """Counts results. With `keeps_faults`, `raise_faults` raises what went wrong since its last call."""

    def __init__(self, on_error: Callable[[Undelivered], None] | None, notices: Notices, *, keeps_faults: bool) -> None:
        self._on_error, self._notices, self._keeps_faults = on_error, notices, keeps_faults
        self._lock = threading.RLock()
        self._faults: list[Undelivered] = []
        self.stored = self.replayed = self.refused = self.lost = 0

    def settle(self, results: Sequence[tuple[Item, Result]]) -> None:
        """Takes the results of items that are stored, or that will not be sent again."""
        undelivered = [result for _, result in results if isinstance(result, Undelivered)]
        with self._lock:
            self.stored += sum(result == "stored" for _, result in results)
            self.replayed += sum(result == "replayed" for _, result in results)
        if undelivered:
            self.tell(undelivered)

    def tell(self, items: Sequence[Undelivered]) -> None:
        """Counts items that will not be sent again, and tells the product of them."""
        with self._lock:
            for item in items:
                self.lost += item.code == "closed"
                self.refused += item.code != "closed"
            if self._keeps_faults:
                self._faults += items
        for item in items:
            self._notices.warn(item.code, "feedback was not stored: %s %r: %s", item.kind, item.id, item.reason)
            if self._on_error is not None:
                try:
                    self._on_error(item)
                except (Exception, SystemExit):  # either would end the thread that sends
                    log.exception("on_error of the feedback queue failed")

    def raise_faults(self) -> None:
        """Raises `NotDelivered` if something went wrong since the last call."""
        with self._lock:
            faults, self._faults = self._faults, []
        if faults:
            first = faults[0]
            raise NotDelivered(f"{len(faults)} not stored, first the {first.kind} {first.id}: {first.reason}")
