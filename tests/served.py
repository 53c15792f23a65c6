"""The API behind a real socket, in a thread of this process."""

import logging
import threading
import time
from collections.abc import Iterator
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
    port = port or services.free_port()
    before = logging.root.handlers[:]
    server = api_server.served(_api, settings.current(), host="127.0.0.1", port=port, configure_logs=False)
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
        _api().state.streams.stop()  # a thread receives no signal
        thread.join()
        logging.root.handlers[:] = before  # the API's own writes to a stderr that ends with the test
