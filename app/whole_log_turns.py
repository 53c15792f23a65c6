"""Limits how many requests read whole logs at a time, since one reading keeps a processor busy for seconds."""

from collections.abc import Iterator
from contextlib import contextmanager

import anyio
from anyio import from_thread
from sqlalchemy import text
from sqlalchemy.orm import Session

from app.database import Purpose
from app.errors import Unavailable

#: The key in a session's `info` of the limiter of the process.
READINGS = "whole_log_readings"


@contextmanager
def turn(session: Session) -> Iterator[None]:
    """Lets an ordinary request read a whole log while the block lasts. Workers, and requests that were admitted for
    reading one, need no turn.

    Raises `Unavailable` if too many others are reading: a request does not wait, since it holds a connection.
    """
    readings: anyio.CapacityLimiter | None = session.info.pop(READINGS, None)
    if readings is None:
        yield
        return
    borrower = object()
    try:
        try:
            from_thread.run_sync(readings.acquire_on_behalf_of_nowait, borrower)
        except anyio.WouldBlock as error:
            raise readings_under_way() from error
        try:
            session.execute(text(f"SET LOCAL statement_timeout = '{Purpose.WHOLE_LOG.statement_seconds:g}s'"))
            yield
        finally:
            from_thread.run_sync(readings.release_on_behalf_of, borrower)
    finally:
        session.info[READINGS] = readings


def readings_under_way() -> Unavailable:
    return Unavailable("Too many requests are reading whole logs: try again in a moment.", code="whole_logs_busy")
