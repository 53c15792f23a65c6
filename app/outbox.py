"""Messages to workers that exist if and only if the transaction that wrote them has committed.

`put` writes a row in the transaction of the caller. After the commit a relay sends the message and deletes the row.
Delivery is at least once, so every message only says "look at …". No other module of `app` uses Celery.
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


class OutboxMessage(Base):
    __tablename__ = "outbox"

    id: Mapped[Id]
    task: Mapped[str] = mapped_column(String(100))
    queue: Mapped[str] = mapped_column(String(100))
    arguments: Mapped[Document]
    created_at: Mapped[Time]


def put(session: Session, task: Task, **arguments: UUID) -> None:
    """Queues a call of `task` with `arguments`. A worker makes it after the transaction of `session` has committed."""
    if set(arguments) != set(task.arguments):
        raise TypeError(f"{task.name} takes the arguments {task.arguments}, not {tuple(arguments)}")
    values = {name: str(value) for name, value in arguments.items()}
    session.add(OutboxMessage(task=task.name, queue=task.queue, arguments=values))
    event.listen(session, "after_commit", _ring)


#: The bells of the relays that run in this process.
_bells: list[threading.Event] = []


def _ring(_session: Session) -> None:
    """Wakes the relays of this process. SQLAlchemy calls it after the release of a savepoint, when there is nothing to
    send yet, and again after the commit.
    """
    for bell in _bells:
        bell.set()


def waiting(session: Session) -> tuple[int, datetime | None]:
    """Returns the number of unsent messages, and the creation time of the oldest one."""
    count, oldest = session.execute(select(func.count(), func.min(OutboxMessage.created_at))).one()
    return count, oldest


@cache
def sender() -> Celery:
    """Returns the Celery application that sends messages. That of the workers is in `worker.main`."""
    return Celery(
        "thumbwheel",
        broker=settings.current().need_redis(),
        set_as_current=False,
        broker_transport_options={"socket_timeout": 5, "socket_connect_timeout": 2},
        broker_connection_timeout=2,
        task_publish_retry=False,
    )


def deliver() -> int:
    """Sends the waiting messages, oldest first, and returns the number sent. If the broker cannot be reached, the rows
    stay, and nothing is raised.

    Rows are locked while they are sent, so that relays in several processes share the work. The locks of a frozen
    process end after `SENDING_SECONDS`.
    """
    sent = 0
    while True:
        with transaction() as session:
            messages = session.scalars(
                select(OutboxMessage).order_by(OutboxMessage.id).limit(BATCH).with_for_update(skip_locked=True)
            ).all()
            if messages:
                end_when_idle(session, SENDING_SECONDS)
            for message in messages:
                try:
                    sender().send_task(message.task, kwargs=message.arguments, queue=message.queue)
                except (OperationalError, RedisError, OSError) as error:
                    log.warning("the broker is away, messages wait in the outbox: %s", error)
                    return sent
                session.delete(message)
                sent += 1
        if len(messages) < BATCH:
            return sent


@contextmanager
def relay() -> Iterator[None]:
    """Runs a thread that sends the messages of this process as soon as their transactions have committed. Every few
    seconds it also sends those that other processes left. Messages committed within the block are sent before its end.

    Start it after a fork, because a child process does not inherit threads.
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
                # The thread has to survive an outage of a server: the rows are still there.
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
