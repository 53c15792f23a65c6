"""Provides the session of a request: its transaction, on connections for its purpose, read-only for a GET."""

from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request
from sqlalchemy.orm import Session

from app.capacity import Capacity

Handler = TypeVar("Handler", bound=Callable[..., Any])
_WHOLE_LOG: set[Callable[..., Any]] = set()
SAFE_METHODS = {"GET", "HEAD"}


def reads_whole_log(handler: Handler) -> Handler:
    """Marks a handler that always reads a whole log: few of these run at once, on separate connections."""
    _WHOLE_LOG.add(handler)
    return handler


async def _session(request: Request) -> AsyncIterator[Session]:
    capacity: Capacity = request.app.state.capacity
    handler = request.scope["endpoint"]
    read_only = request.method in SAFE_METHODS
    async with capacity.session(whole_log=handler in _WHOLE_LOG, read_only=read_only) as session:
        yield session


#: The transaction of a request. `scope="function"` commits it before the response is sent: a 2xx means committed.
Transaction = Annotated[Session, Depends(_session, scope="function")]
