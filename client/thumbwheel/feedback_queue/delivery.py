"""`Delivery`: sends items to the API, and says what became of each.

An item's id and its bytes are made once, so that the API stores nothing twice however often they are sent. Retries
follow the rules of all other calls (`thumbwheel.client.retry_rules`), without an end.
"""

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, Literal
from urllib.parse import quote

from thumbwheel.client.http import Http
from thumbwheel.client.retries import Retries
from thumbwheel.client.retry_rules import LONGEST_RETRY_AFTER_SECONDS
from thumbwheel.connection_settings import ConnectionSettings
from thumbwheel.errors import ApiError, ClientError
from thumbwheel.feedback_queue.buffer import Item, Kind

BATCHES: dict[Kind, str] = {"event": "/v1/feedback/batch", "completion": "/v1/completions/batch"}
#: Statuses of the API that are about a body and not about the sender.
FAULTY_BODY = frozenset({400, 413, 422})
#: Statuses of an API that is older than the batch of completions: it takes no lines at this path, and no POST. A 404
#: would be about the project.
OLDER_API = frozenset({405, 415})
#: Seconds for which completions then go one by one, before a batch is tried again.
OLDER_SECONDS = 600.0


@dataclass(frozen=True)
class Undelivered:
    """An item that is not stored and will not be sent again.

    kind    event or completion
    id      the event's id, or the completion's
    code    invalid, conflict, erased, or another code of the API; failed: an unexpected error here; closed: the queue
            was closed before the API took the item
    reason  what is wrong, for people
    body    the item as JSON, as it goes over the wire
    """

    kind: Kind
    id: str
    code: str
    reason: str
    body: bytes


@dataclass(frozen=True)
class Postponed:
    """An event whose actor has reached a limit: the API takes it after `seconds`."""

    seconds: float


Result = Literal["stored", "replayed"] | Undelivered | Postponed


class Delivery:
    """The connections of one process.

    pause  waits between two attempts; an error that it raises ends the call
    """

    def __init__(self, settings: ConnectionSettings, timeout: float, pause: Callable[[float], None]) -> None:
        self._settings, self._timeout = settings, timeout
        self._retries = Retries(sys.maxsize, inf, pause)
        self._older_until = 0.0
        self._connecting = threading.Lock()
        self._made: Http | None = None

    def connect(self) -> Http:
        """Returns the pool of connections; the first call reads the certificates of the machine, for some ms."""
        with self._connecting:
            if self._made is None:
                self._made = Http(self._settings, timeout=self._timeout, retries=self._retries)
            return self._made

    def close(self) -> None:
        if self._made is not None:
            self._made.close()

    def send(self, items: list[Item]) -> Iterator[Sequence[tuple[Item, Result]]]:
        """Sends items of one kind, and yields them with their results as soon as those are known."""
        if items and items[0].kind == "completion" and time.monotonic() < self._older_until:
            for item in items:
                yield [(item, self._register(item))]
        elif items:
            yield from self._send_batch(items)

    def _send_batch(self, items: list[Item]) -> Iterator[Sequence[tuple[Item, Result]]]:
        """Sends items as one batch. If the batch as a whole is faulty, its halves are sent on their own."""
        kind = items[0].kind
        try:
            lines = b"\n".join(item.body for item in items)
            answer = self.connect().send("POST", BATCHES[kind], lines=lines, safe=True)
            results = [_result(item, fields) for item, fields in zip(items, answer.json()["items"], strict=True)]
        except ApiError as error:
            if error.status in FAULTY_BODY and len(items) > 1:
                yield from self._send_batch(items[: len(items) // 2])
                yield from self._send_batch(items[len(items) // 2 :])
                return
            if error.status in OLDER_API and kind == "completion":
                self._older_until = time.monotonic() + OLDER_SECONDS
                yield from self.send(items)
                return
            results = [undelivered(item, error.code, error.message) for item in items]
        except ClientError as error:
            results = [undelivered(item, "failed", error.message) for item in items]
        yield list(zip(items, results, strict=True))

    def _register(self, item: Item) -> Result:
        """Registers a completion on its own, at an older API."""
        try:
            path = f"/v1/completions/{quote(item.id, safe='')}"
            fields = {name: value for name, value in json.loads(item.body).items() if name != "completion_id"}
            answer = self.connect().send("PUT", path, json=fields, safe=True).json()
        except ApiError as error:
            return undelivered(item, error.code, error.message)
        except ClientError as error:
            return undelivered(item, "failed", error.message)
        return _result(item, answer)


def undelivered(item: Item, code: str, reason: str) -> Undelivered:
    return Undelivered(item.kind, item.id, code, reason, item.body)


def _result(item: Item, fields: dict[str, Any]) -> Result:
    match fields["status"]:
        case "stored":
            return "stored"
        case "replayed":
            return "replayed"
        case "rate_limited":
            return Postponed(min(fields.get("retry_after_seconds") or 1.0, LONGEST_RETRY_AFTER_SECONDS))
        case status:
            return undelivered(item, status, fields.get("error") or status)
