"""Messages that exist if and only if the transaction that wrote them committed.

`put` writes a row beside the caller's rows. After the commit a relay sends it and deletes the row: a message is done
when its row is gone. Sending is at least once, so a message only ever says "look at …". The only Celery in `app`.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from uuid import UUID

from celery import Celery
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError
from sqlalchemy import String, event, func, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from app import settings
from app.database import Base, Document, Id, Time, end_when_idle, transaction
from app.messages import Task

log = logging.getLogger(__name__)

BATCH = 100
RETRY_SECONDS = 5.0
SENDING_SECONDS = 60.0


class Message(Base):
    __tablename__ = "outbox"

    id: Mapped[Id]
    task: Mapped[str] = mapped_column(String(100))
    queue: Mapped[str] = mapped_column(String(100))
    arguments: Mapped[Document]
    created_at: Mapped[Time]


def put(session: Session, task: Task, **arguments: UUID) -> None:
    """Has a worker call `task` with `arguments` once the transaction of `session` has committed."""
    if set(arguments) != set(task.arguments):
        raise TypeError(f"{task.name} takes the arguments {task.arguments}, not {tuple(arguments)}")
    values = {name: str(value) for name, value in arguments.items()}
    session.add(Message(task=task.name, queue=task.queue, arguments=values))
    event.listen(session, "after_commit", _ring)


#: The bells of the relays that run in this process.
_bells: list[threading.Event] = []


def _ring(_session: Session) -> None:
    """Wakes the relays of this process. It is called after the release of a savepoint, too, when there is nothing to
    send yet, and again after the commit.
    """
    for bell in _bells:
        bell.set()


def waiting(session: Session) -> tuple[int, datetime | None]:
    """Returns the number of messages that are not sent yet, and since when the oldest waits."""
    count, oldest = session.execute(select(func.count(), func.min(Message.created_at))).one()
    return count, oldest


@cache
def sender() -> Celery:
    """Celery as a sender of messages; its workers are in `worker.main`."""
    return Celery(
        "thumbwheel",
        broker=settings.current().need_redis(),
        set_as_current=False,
        broker_transport_options={"socket_timeout": 5, "socket_connect_timeout": 2},
        broker_connection_timeout=2,
        task_publish_retry=False,
    )


def deliver() -> int:
    """Sends the messages that wait, oldest first, and returns their number. While the broker is away, the rows stay,
    and nothing is raised.

    Rows are locked while they are sent, so that relays in several processes share the work. The locks of a frozen
    process end after `SENDING_SECONDS`.
    """
    sent = 0
    while True:
        with transaction() as session:
            waiting = session.scalars(
                select(Message).order_by(Message.id).limit(BATCH).with_for_update(skip_locked=True)
            ).all()
            if waiting:
                end_when_idle(session, SENDING_SECONDS)
            for message in waiting:
                try:
                    sender().send_task(message.task, kwargs=message.arguments, queue=message.queue)
                except (OperationalError, RedisError, OSError) as error:
                    log.warning("the broker is away, messages wait in the outbox: %s", error)
                    return sent
                session.delete(message)
                sent += 1
        if len(waiting) < BATCH:
            return sent


@contextmanager
def relay() -> Iterator[None]:
    """Sends the messages of this process as soon as their transactions have committed, from a thread of its own, and
    every few seconds those that other processes have left. What was committed within the block is sent before its end.

    Start it after the fork, as a child process has no threads of its parent.
    """
    bell = threading.Event()
    stopping = threading.Event()

    def work() -> None:
        last = False
        while not last:
            bell.wait(RETRY_SECONDS)
            bell.clear()
            last = stopping.is_set()
            try:
                deliver()
            except Exception:
                # The thread has to outlive a server that is away: the rows are still there.
                log.exception("the outbox could not be delivered, its messages wait")

    thread = threading.Thread(target=work, name="outbox-relay", daemon=True)
    _bells.append(bell)
    thread.start()
    try:
        yield
    finally:
        _bells.remove(bell)
        stopping.set()
        bell.set()
        thread.join(timeout=10)
