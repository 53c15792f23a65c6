"""Ends a trainer or scorer whose attempt is over.

The worker that started the process touches WORKDIR/lease.json at each renewal of its lease. If it has not done so for
the duration of the lease (the worker is frozen, or this process was), or if the file is gone (a later attempt has taken
over), the results of this process no longer count. A WORKDIR without that file has no lease.
"""

import json
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

LEASE = "lease.json"
LOOK_SECONDS = 1.0


def end_with_lease(workdir: Path) -> None:
    """Starts a thread that watches the lease of `workdir` and ends this process and its group when it is over."""
    path = workdir / LEASE
    try:
        seconds = float(json.loads(path.read_bytes())["seconds"])
    except FileNotFoundError:
        return
    threading.Thread(target=_watch, args=(path, seconds), name="lease", daemon=True).start()


def _watch(path: Path, seconds: float) -> None:
    touched = _touched(path)
    seen = time.monotonic()
    while touched is not None and time.monotonic() - seen <= seconds:
        time.sleep(min(LOOK_SECONDS, seconds / 4))
        newest = _touched(path)
        if newest != touched:
            touched, seen = newest, time.monotonic()
    with suppress(OSError):
        os.write(sys.stderr.fileno(), b"the lease of this attempt is over: ended\n")
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpgrp(), signal.SIGKILL)  # a group of its own: child processes end too
    os.kill(os.getpid(), signal.SIGKILL)


def _touched(path: Path) -> int | None:
    """Returns the time of the last touch in nanoseconds, or None if the file is gone."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return None
