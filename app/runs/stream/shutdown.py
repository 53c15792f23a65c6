"""Reacts to the signals that stop the server before it waits for the open responses."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def called_on_shutdown(call: Callable[[], None]) -> Iterator[None]:
    """Calls `call` on SIGTERM or SIGINT while the block lasts, and then the handler that was installed before.

    uvicorn ends the lifespan only after every response is complete, so the lifespan cannot end a stream. Signals reach
    only the main thread: a server in another thread has to make the call itself.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    previous = {number: handler for number, handler in handlers.items() if callable(handler)}

    def handle(number: int, frame: FrameType | None) -> None:
        call()
        previous[signal.Signals(number)](number, frame)

    for number in previous:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
