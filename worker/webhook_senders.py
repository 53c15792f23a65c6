"""Threads that send webhooks, so that a slow receiver holds up neither the tick nor erasures.

The housekeeping worker takes one message at a time. A message about webhooks is handed to these threads and is done:
the row is the job, so whatever a killed process had in hand is found again by the tick.
"""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

from app.webhooks.deliveries.service import deliver_next

log = logging.getLogger(__name__)

THREADS = 4


class WebhookSenders:
    """Calls `deliver` for endpoints, in a few threads that start with the first one, after the fork of the process."""

    def __init__(self, deliver: Callable[[UUID], object] = deliver_next) -> None:
        self._deliver = deliver
        self._lock = threading.Lock()
        self._waiting: set[UUID] = set()
        self._threads: ThreadPoolExecutor | None = None

    def look_at(self, endpoint_id: UUID) -> None:
        """Has a thread send what is due to an endpoint, unless it already waits for one."""
        with self._lock:
            if endpoint_id in self._waiting:
                return
            if self._threads is None:
                self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="webhook-sender")
            self._waiting.add(endpoint_id)
            self._threads.submit(self._work, endpoint_id)

    def close(self) -> None:
        """Waits for the attempts that are under way, each of which ends in time. Waiting endpoints are left."""
        with self._lock:
            threads, self._threads = self._threads, None
            self._waiting.clear()
        if threads is not None:
            threads.shutdown(wait=True, cancel_futures=True)

    def _work(self, endpoint_id: UUID) -> None:
        with self._lock:
            self._waiting.discard(endpoint_id)
        try:
            self._deliver(endpoint_id)
        except Exception:
            # The lease of the attempt ends, and the tick finds the delivery again.
            log.exception("webhooks could not be delivered to endpoint %s, trying again", endpoint_id)


#: Those of this process.
senders = WebhookSenders()
