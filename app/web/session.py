"""Provides the session of a request: its transaction, on connections for its purpose."""

from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request
from sqlalchemy.orm import Session

from app.capacity import Capacity

Handler = TypeVar("Handler", bound=Callable[..., Any])
_WHOLE_LOG: set[Callable[..., Any]] = set()


def reads_whole_log(handler: Handler) -> Handler:
    """Marks a handler that always reads a whole log: few of these run at once, on separate connections."""
    _WHOLE_LOG.add(handler)
    return handler


async def _session(request: Request) -> AsyncIterator[Session]:
    capacity: Capacity = request.app.state.capacity
    async with capacity.session(whole_log=request.scope["endpoint"] in _WHOLE_LOG) as session:
        yield session


#: The transaction of a request. `scope="function"` commits it before the response is sent: a 2xx means committed.
Transaction = Annotated[Session, Depends(_session, scope="function")]
