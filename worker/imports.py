"""Starts and watches a process for each import, so that a large file holds up neither the tick nor erasures.

The housekeeping worker takes one message at a time. A message about an import starts a process and is done: the row is
the job, so an import whose process or worker is killed is found again by the tick.
"""

import logging
import os
import socket
import subprocess
import sys
import threading
import time
from uuid import UUID, uuid4

from app import settings
from app.database import transaction
from app.feedback.import_jobs.leases import service as leases
from app.services import Process

log = logging.getLogger(__name__)

#: Imports that one worker does at the same time.
MOST = 2
#: Imports that one worker remembers to begin next.
MOST_WAITING = 100
#: Memory that a process may take: a file that needs more is not read record by record.
MOST_BYTES = 2 * 2**30
POLL_SECONDS = 0.2
#: The time that a process has to begin.
START_SECONDS = 20.0
STOP_SECONDS = 10
MODULE = "app.feedback.import_jobs"


class ImportProcesses:
    """The processes of one worker, each watched by a thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._threads: dict[UUID, threading.Thread] = {}
        self._waiting: list[UUID] = []
        self._closing = threading.Event()

    def begin(self, import_id: UUID) -> bool:
        """Starts a process for the import. Returns False if there is one already, or no room: then it waits for one.

        The import may be begun elsewhere meanwhile, and the tick finds those that a lost worker knew of.
        """
        with self._lock:
            if import_id in self._threads:
                return False
            if len(self._threads) >= MOST:
                if import_id not in self._waiting:
                    self._waiting = [*self._waiting[-MOST_WAITING + 1 :], import_id]
                return False
            thread = threading.Thread(target=self._work, args=(import_id,), name=f"import {import_id}", daemon=True)
            self._threads[import_id] = thread
        thread.start()
        return True

    def close(self) -> None:
        """Stops the processes: each writes how far it came, and another worker continues."""
        self._closing.set()
        with self._lock:
            threads = list(self._threads.values())
        for thread in threads:
            thread.join(STOP_SECONDS + 5)

    def _work(self, import_id: UUID) -> None:
        try:
            self._attend(import_id)
        except Exception:
            log.exception("import %s could not be attended to, trying again", import_id)
        finally:
            with self._lock:
                del self._threads[import_id]
                following = self._waiting.pop(0) if self._waiting and not self._closing.is_set() else None
            if following is not None:
                self.begin(following)

    def _attend(self, import_id: UUID) -> None:
        """Runs the process to its end. One that lost its lease, as when it is frozen, is killed."""
        owner = f"{socket.gethostname()} {uuid4()}"
        process = Process(
            f"import {import_id}",
            [sys.executable, "-m", MODULE, str(import_id), owner],
            output=subprocess.DEVNULL if sys.__stderr__ is None else sys.__stderr__.fileno(),
            environment=os.environ,
            limits={"data": MOST_BYTES},
        )
        lease_seconds = settings.current().lease_seconds
        next_look = time.monotonic() + START_SECONDS
        try:
            while process.alive() and not self._closing.wait(POLL_SECONDS):
                if time.monotonic() < next_look:
                    continue
                next_look = time.monotonic() + lease_seconds
                with transaction(read_only=True) as session:
                    held = leases.is_held(session, import_id, owner)
                if not held and process.alive():
                    log.warning("import %s: its process lost the lease and is killed", import_id)
                    process.kill()
        finally:
            code = process.stop(STOP_SECONDS if self._closing.is_set() else 0)
        if code:
            log.warning("import %s: its process ended with exit code %d", import_id, code)


#: Those of this process.
imports = ImportProcesses()
