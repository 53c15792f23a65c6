"""A file that the worker touches while it can take messages, for health checks that start no Python."""

from pathlib import Path
from typing import Any

from celery import bootsteps

from app import settings

SECONDS = 5.0


class TouchAliveFile(bootsteps.StartStopStep):
    """A step of Celery's consumer: it runs while the broker is connected, and rests while it is away."""

    requires = {"celery.worker.consumer.tasks:Tasks"}  # noqa: RUF012 - as Celery declares it

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        self.timer: Any = None
        self.file: Path | None = settings.current().alive_file

    def start(self, consumer: Any) -> None:
        if self.file is not None:
            self.file.touch()
            self.timer = consumer.timer.call_repeatedly(SECONDS, self.file.touch)

    def stop(self, consumer: Any) -> None:  # noqa: ARG002 - as Celery calls it
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    shutdown = stop
