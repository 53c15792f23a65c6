"""Host work ahead of the device: the next micro-batches are prepared in a thread while the current one is computed."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

In = TypeVar("In")
Out = TypeVar("Out")
#: So many are prepared beforehand. More would hold memory and gain nothing: preparing is short.
AHEAD = 2


def prepared_ahead(prepare: Callable[[In], Out], items: Iterable[In]) -> Generator[Out]:
    """`prepare` of each item, in order; what it raises is raised in its place. A caller that stops early closes the
    iterator, which waits for what is being prepared.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="prepare") as pool:
        waiting: deque[Future[Out]] = deque()
        for item in items:
            waiting.append(pool.submit(prepare, item))
            if len(waiting) > AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
