"""The Celery app of the workers: ``celery -A worker.main worker -Q runs`` and ``… worker --beat -Q housekeeping``.

A message is acknowledged when it arrives: the row is the job, and a run whose worker dies comes back by its lease.
"""

import mmap
import signal
from contextlib import ExitStack
from typing import Any

from celery import Celery
from celery.signals import (
    beat_embedded_init,
    setup_logging,
    worker_process_init,
    worker_process_shutdown,
    worker_shutting_down,
)

from app import malloc, messages, outbox, settings, telemetry
from app.services import end_with_parent
from worker.imports import imports
from worker.liveness import TouchAliveFile
from worker.webhook_senders import senders

#: One byte of memory that the worker shares with the children that it forks: not 0 once it has to stop.
_stop_requested = mmap.mmap(-1, 1)


def stopping() -> bool:
    """Returns whether this worker has to stop."""
    return _stop_requested[0] != 0


def _app() -> Celery:
    chosen = settings.current()
    made = Celery("thumbwheel", broker=chosen.need_redis(), include=["worker.tasks"])
    made.conf.update(
        task_acks_late=False,
        task_ignore_result=True,
        task_default_queue=messages.HOUSEKEEPING,
        task_routes={task.name: {"queue": task.queue} for task in messages.TASKS},
        # A message that waits behind a run of hours is no use to the worker beside it that is idle.
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=True,
        worker_send_task_events=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={"socket_keepalive": True},
        beat_schedule={
            "tick": {
                "task": messages.TICK.name,
                "schedule": chosen.tick_seconds,
                # After a pause one tick does; those that piled up are dropped.
                "options": {"queue": messages.TICK.queue, "expires": max(chosen.tick_seconds, 5.0)},
            }
        },
    )
    made.steps["consumer"].add(TouchAliveFile)
    return made


app = _app()

#: Of a process that runs tasks.
_relay = ExitStack()


@setup_logging.connect
def _log(**_: Any) -> None:
    telemetry.configure()


@worker_process_init.connect
@beat_embedded_init.connect
def _end_with_worker(**_: Any) -> None:
    """Ends Celery's children, and with them the trainer, when their worker is killed."""
    end_with_parent(signal.SIGKILL)


@worker_process_init.connect
def _settle_malloc(**_: Any) -> None:
    """Has the processes that run tasks return the memory that a whole log took."""
    malloc.settle()


@worker_process_init.connect
def _start_relay(**_: Any) -> None:
    """Sends messages from the processes that run tasks: each has a relay, as no thread survives a fork."""
    _relay.enter_context(outbox.relay())


@worker_process_shutdown.connect
def _stop_relay(**_: Any) -> None:
    imports.close()
    senders.close()
    _relay.close()


@worker_shutting_down.connect
def _tell_children(**_: Any) -> None:
    _stop_requested[0] = 1
