"""Our API with a sampling profiler, which counts what the processor time of a request is spent on.

A sample is taken every millisecond of processor time and counts for the room of the innermost frame that has one. C
code counts for the frame that calls it. When the server stops, the counts are written to the file that the environment
variable BENCHMARK_PROFILE names.
"""

import json
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import FrameType

from fastapi import FastAPI

from app.server import create_tuned_app

SECONDS = 0.001
#: Part of a file's path (and function, after a colon) → the room of its time. The first match counts.
ROOMS = (
    ("app/feedback/ingest/msgspec_reader.py:json_text", "the row and its JSON"),
    ("app/feedback/ingest/msgspec_reader.py", "JSON and validation of the body"),
    ("app/feedback/signals.py:read", "JSON and validation of the body"),
    ("pydantic/", "JSON and validation of the body"),
    ("thumbwheel/wire/", "JSON and validation of the body"),
    ("app/feedback/signals.py", "the row and its JSON"),
    ("app/feedback/ingest/entries.py:quick_entry", "the row and its JSON"),
    ("<frozen abc>", "Postgres protocol and commit"),
    ("asyncio/locks", "the queue"),
    ("app/feedback/ingest/append.py", "Postgres protocol and commit"),
    ("asyncpg/", "Postgres protocol and commit"),
    ("app/feedback/ingest/group_commit.py", "the queue"),
    ("app/feedback/ingest/receiver.py", "routing and answer"),
    ("app/projects/admission.py", "routing and answer"),
    ("app/http_protocol.py", "HTTP"),
    ("app/", "routing and answer"),
    ("fastapi/", "routing and answer"),
    ("starlette/", "routing and answer"),
    ("uvicorn/", "HTTP"),
    ("uvloop", "the event loop"),
    ("asyncio/", "the event loop"),
)


def create() -> FastAPI:
    api = create_tuned_app()
    inner = api.router.lifespan_context
    samples: Counter[str] = Counter()

    def sample(_: int, frame: FrameType | None) -> None:
        samples[_room(frame)] += 1

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        signal.signal(signal.SIGPROF, sample)
        signal.setitimer(signal.ITIMER_PROF, SECONDS, SECONDS)
        async with inner(app):
            yield
        signal.setitimer(signal.ITIMER_PROF, 0)
        Path(os.environ["BENCHMARK_PROFILE"]).write_text(json.dumps(samples))

    api.router.lifespan_context = lifespan
    return api


def _room(frame: FrameType | None) -> str:
    while frame is not None:
        code = frame.f_code
        location = f"{code.co_filename}:{code.co_name}"
        for part, room in ROOMS:
            path, _, function = part.partition(":")
            if path in location and (not function or location.endswith(f":{function}")):
                return room
        frame = frame.f_back
    return "the event loop"
