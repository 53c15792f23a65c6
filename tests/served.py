"""The API, or another application, behind a real socket in a thread of this process."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

from fastapi import FastAPI

from app import server as api_server
from app import services, settings
from app.main import create_app


@cache
def _api() -> FastAPI:
    """Creates the API once per process, as preparing its routes at the first request takes a tenth of a second."""
    return create_app()


@contextmanager
def served(port: int | None = None) -> Iterator[str]:
    """Serves the API on the servers of the settings until the block ends and yields its URL. One may run at a time.

    port  None takes a free port
    """
    with in_a_thread(_api, port, _end_streams) as url:
        yield url


def _end_streams() -> None:
    """Ends the streams, as the API does at a signal, which a thread does not receive."""
    _api().state.streams.stop()


@contextmanager
def in_a_thread(
    application: Callable[[], FastAPI], port: int | None = None, stop: Callable[[], None] = lambda: None
) -> Iterator[str]:
    """Serves an application in a thread of this process until the block ends and yields its URL.

    port  None takes a free port
    stop  ends what keeps requests open
    """
    port = port or services.free_port()
    before = logging.root.handlers[:]
    server = api_server.served(application, settings.current(), host="127.0.0.1", port=port, configure_logs=False)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        deadline = time.monotonic() + 120
        while not server.started and time.monotonic() < deadline:
            time.sleep(0.01)
        assert server.started
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        stop()
        thread.join()
        logging.root.handlers[:] = before  # the application's own writes to a stderr that ends with the test
