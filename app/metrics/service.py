"""Answers scrapers: figures of this process, which are always there, and those of the projects, read now and then.

    scraper ─▶ key (remembered) ─▶ this process's figures ─▶ the projects', at most a few seconds old ─▶ text

While Postgres is away, scrapers whose keys were known lately still get the figures of the process.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from fastapi import Response
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric

from app.capacity import Lane
from app.database import Purpose
from app.errors import ThumbwheelError
from app.metrics import project_families, projects
from app.metrics.families import gauge, visible_to
from app.metrics.process import ProcessFigures
from app.metrics.scrapers import Scrapers

log = logging.getLogger(__name__)

#: The figures of the projects are read again after this time, or this many times the duration of their reading.
FRESH_SECONDS, REST = 15.0, 10
#: After a failure they are read again this soon.
RETRY_SECONDS = 2.0
#: A scraper waits this long for a reading, and the reading is given up after the other time.
WAIT_SECONDS, READING_SECONDS = 5.0, 60.0


@dataclass(frozen=True)
class _ProjectsReading:
    """The projects' figures. `figures`: None if Postgres did not answer. `until`: when they are read again."""

    figures: projects.ProjectFigures | None
    at: float
    seconds: float
    until: float


class _Encoded:
    """Families as `prometheus_client` takes them."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> list[Metric]:
        return self._families


class MetricsEndpoint:
    """The figures of one process and of all projects; used inside one event loop."""

    def __init__(self, process: ProcessFigures, lane: Lane) -> None:
        self._process = process
        self._scrapers = Scrapers(lane)
        self._lane = Lane(Purpose.METRICS, READING_SECONDS)
        self._kept: _ProjectsReading | None = None
        self._under_way: asyncio.Task[None] | None = None

    async def __call__(self, secret: str | None, accept: str) -> Response:
        """Answers a scraper with the figures that its key may read, in the format that it accepts.

        Raises `Unauthenticated`, `Forbidden`, and `Unavailable` if the key is new and Postgres does not answer.
        """
        project = await self._scrapers.admit(secret)
        reading = await self._reading()
        process = self._process()
        encode, content_type = _encoder(accept)

        def written() -> bytes:
            families = [*process, *_families(reading)]
            return encode(_Encoded(visible_to(families, project)))

        body = await asyncio.to_thread(written)
        return Response(body, headers={"Content-Type": content_type, "Cache-Control": "no-store"})

    def close(self) -> None:
        """Gives up a reading that is under way."""
        if self._under_way is not None:
            self._under_way.cancel()
        self._lane.close()

    async def _reading(self) -> _ProjectsReading | None:
        """Returns the newest figures of the projects, read once for all scrapers; None before the first reading."""
        if self._kept is None or time.monotonic() >= self._kept.until:
            if self._under_way is None:
                self._under_way = asyncio.create_task(self._read())
            await asyncio.wait([self._under_way], timeout=WAIT_SECONDS)
        return self._kept

    async def _read(self) -> None:
        began, at = time.monotonic(), time.time()
        figures = None
        try:
            figures = await self._lane.run(projects.read)
        except ThumbwheelError as error:
            log.warning("the figures of the projects could not be read: %s", error.message)
        except Exception:
            log.exception("the figures of the projects could not be read")
        finally:
            ended = time.monotonic()
            rest = RETRY_SECONDS if figures is None else max(FRESH_SECONDS, REST * (ended - began))
            self._kept = _ProjectsReading(figures, at, ended - began, ended + rest)
            self._under_way = None


def _families(reading: _ProjectsReading | None) -> list[Metric]:
    figures = None if reading is None else reading.figures
    there = reading is not None and figures is not None
    return [
        gauge(
            "thumbwheel_database_up",
            "1 if Postgres answered when the figures of the projects were last read, 0 if not; they are left out then.",
            values=[((), 1.0 if there else 0.0)],
        ),
        gauge(
            "thumbwheel_database_read_timestamp_seconds",
            "Unix time at which the figures of the projects were read.",
            values=[((), reading.at if reading is not None and there else None)],
        ),
        gauge(
            "thumbwheel_database_read_duration_seconds",
            "Duration of the last reading of the figures of the projects.",
            values=[((), None if reading is None else reading.seconds)],
        ),
        *project_families.families(figures or projects.NOTHING),
    ]


def _encoder(accept: str) -> tuple[Callable[[_Encoded], bytes], str]:
    """Returns the encoder of the format that is preferred, and its content type."""
    try:
        return choose_encoder(accept)
    except (TypeError, ValueError):  # a version that is no version
        return choose_encoder("")
