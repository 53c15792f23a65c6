"""`python -m app.feedback.import_jobs ID OWNER`: the process that does one import. A worker starts and watches it."""

import os
import signal
import sys
import threading
from uuid import UUID

from app import malloc, telemetry
from app.feedback.import_jobs.job import do

#: Ordinary ingest and the tick come first.
NICENESS = 5


def main(import_id: str, owner: str) -> None:
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    telemetry.configure()
    malloc.settle()
    os.nice(NICENESS)
    do(UUID(import_id), owner, stopping.is_set)


if __name__ == "__main__":
    main(*sys.argv[1:])
