"""Looks at targets in threads, so that a slow server holds up neither the tick nor another target.

A thread dies with its process. The lease of its target then expires, and the tick sends a message again.
"""

import logging
import threading
from uuid import UUID

from worker.serving.sync import sync

log = logging.getLogger(__name__)

#: Targets that one process looks at at the same time.
MOST = 8

_lock = threading.Lock()
_busy: set[UUID] = set()


def begin_sync(target_id: UUID) -> bool:
    """Looks at the target in a thread. Returns False if this process is at it already or has no room: the tick sends a
    message again.
    """
    with _lock:
        if target_id in _busy or len(_busy) >= MOST:
            return False
        _busy.add(target_id)
    threading.Thread(target=_work, args=(target_id,), name=f"target {target_id}", daemon=True).start()
    return True


def _work(target_id: UUID) -> None:
    try:
        sync(target_id)
    except Exception:
        log.exception("target %s could not be looked at, trying again", target_id)
    finally:
        with _lock:
            _busy.discard(target_id)
