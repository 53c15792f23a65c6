"""`Buffer`: what waits to be sent, bounded in items and bytes.

`put` runs in the product's requests. It holds its lock for a few steps that wait for nothing. The lock may be entered
again by the thread that holds it, since a signal handler or a finalizer may put something in the middle of a put.
"""

import threading
from collections import deque
from dataclasses import dataclass
from typing import Literal

Kind = Literal["event", "completion"]
KINDS: tuple[Kind, ...] = ("event", "completion")
WhenFull = Literal["drop_newest", "drop_oldest"]

#: Bytes of an item in memory besides its body.
OTHER_BYTES = 400


@dataclass(slots=True, eq=False)
class Item:
    """An event, or a completion to register, as it goes over the wire. `number`: its place among all items."""

    kind: Kind
    id: str
    body: bytes
    number: int = 0

    @property
    def size(self) -> int:
        return len(self.body) + OTHER_BYTES


class Buffer:
    """Items wait by kind. Those that are being sent count until they are done."""

    def __init__(self, most_items: int, most_bytes: int, when_full: WhenFull) -> None:
        self._most_items, self._most_bytes = most_items, most_bytes
        self._drops_oldest = when_full == "drop_oldest"
        self._lock = threading.RLock()
        self._waiting: dict[Kind, deque[Item]] = {kind: deque() for kind in KINDS}
        self._sending: set[Item] = set()
        self._last = 0
        self._closed = False
        self.items = 0
        self.bytes = 0
        self.dropped = 0

    def waiting(self, kind: Kind) -> int:
        return len(self._waiting[kind])

    @property
    def last(self) -> int:
        """The number of the newest item."""
        return self._last

    def put(self, item: Item) -> int:
        """Adds an item and returns how many of its kind wait with it; 0 if it was dropped."""
        size = item.size
        with self._lock:
            if self._closed or not self._make_room(size):
                self.dropped += 1
                return 0
            self._last += 1
            item.number = self._last
            self.items += 1
            self.bytes += size
            waiting = self._waiting[item.kind]
            waiting.append(item)
            return len(waiting)

    def take(self, kind: Kind, most_items: int, most_bytes: int) -> list[Item]:
        """Returns the oldest items of a kind, at least one if there is any, which are then being sent."""
        taken: list[Item] = []
        size = 0
        with self._lock:
            waiting = self._waiting[kind]
            while waiting and len(taken) < most_items and (not taken or size + waiting[0].size <= most_bytes):
                item = waiting.popleft()
                size += item.size
                taken.append(item)
            self._sending.update(taken)
        return taken

    def put_back(self, kind: Kind, items: list[Item]) -> None:
        """Makes items that were being sent wait again, in their old places."""
        with self._lock:
            again = [item for item in items if item in self._sending]
            self._sending.difference_update(again)
            self._waiting[kind] = deque(sorted([*again, *self._waiting[kind]], key=_number))

    def done(self, items: list[Item]) -> None:
        """Forgets items that were sent, or refused."""
        with self._lock:
            for item in items:
                if item in self._sending:
                    self._sending.remove(item)
                    self.items -= 1
                    self.bytes -= item.size

    def oldest(self) -> int | None:
        """Returns the number of the oldest item that is not done."""
        with self._lock:
            heads = [waiting[0].number for waiting in self._waiting.values() if waiting]
            return min([*heads, *(item.number for item in self._sending)], default=None)

    def oldest_waiting(self, kind: Kind) -> int | None:
        with self._lock:
            return self._waiting[kind][0].number if self._waiting[kind] else None

    def close(self) -> None:
        """Drops what is put from now on."""
        with self._lock:
            self._closed = True

    def clear(self) -> list[Item]:
        """Takes everything out, and returns it."""
        with self._lock:
            left = sorted([*self._sending, *(item for kind in KINDS for item in self._waiting[kind])], key=_number)
            self._sending.clear()
            for waiting in self._waiting.values():
                waiting.clear()
            self.items = self.bytes = 0
            return left

    def _make_room(self, size: int) -> bool:
        """Returns whether an item of `size` fits, if need be after older ones were dropped."""
        if size > self._most_bytes:
            return False
        while self.items + 1 > self._most_items or self.bytes + size > self._most_bytes:
            waiting = [queue for queue in self._waiting.values() if queue] if self._drops_oldest else []
            if not waiting:
                return False
            oldest = min(waiting, key=lambda queue: queue[0].number).popleft()
            self.items -= 1
            self.bytes -= oldest.size
            self.dropped += 1
        return True


def _number(item: Item) -> int:
    return item.number
