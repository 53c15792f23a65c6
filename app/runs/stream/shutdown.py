"""Hearing that the server is asked to stop, before it waits for the responses that are open."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def told_to_stop(call: Callable[[], None]) -> Iterator[None]:
    """While the block lasts, `call` is made when SIGTERM or SIGINT comes, and whoever listened before hears it, too.

    uvicorn ends the lifespan once every response is complete, so nothing in it could end a stream. Outside of the main
    thread nobody hears signals: who runs a server there calls for itself.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    found = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    listened = {number: listener for number, listener in found.items() if callable(listener)}

    def heard(number: int, frame: FrameType | None) -> None:
        call()
        listened[signal.Signals(number)](number, frame)

    for number in listened:
        signal.signal(number, heard)
    try:
        yield
    finally:
        for number, listener in listened.items():
            signal.signal(number, listener)
