"""Caches for a moment which key may write to which project: ingest checks this thousands of times a second."""

import asyncio
import time
from urllib.parse import parse_qsl

from sqlalchemy.orm import Session
from thumbwheel import wire

from app.access.caller import caller_of, require
from app.capacity import Lane
from app.projects import service as projects
from app.projects.project_of_request import Scoped, project_of

#: Age in seconds after which an entry is looked up again in the background.
REFRESH_SECONDS = 0.5
#: Age in seconds at which an entry expires: a revoked key may send feedback for this long.
REMEMBERED_SECONDS = 1.0
MOST_REMEMBERED = 10_000

RequestKey = tuple[bytes, bytes]


class Admission:
    """Admits requests whose key has `scope`, and finds the project of each.

    A request is identified by its Authorization header and its query string.
    """

    def __init__(self, scope: wire.Scope, lane: Lane) -> None:
        self._scope = scope
        self._lane = lane
        self._remembered: dict[RequestKey, tuple[float, str]] = {}
        self._look_ups: dict[RequestKey, asyncio.Task[str]] = {}

    def remembered(self, authorization: bytes, query: bytes) -> str | None:
        """Returns the project of a request if it is cached and fresh enough; None otherwise."""
        entry = self._remembered.get((authorization, query))
        if entry is None:
            return None
        looked_up, project = entry
        age = time.monotonic() - looked_up
        if age > REFRESH_SECONDS:
            self._start((authorization, query))
        return project if age < REMEMBERED_SECONDS else None

    async def admit(self, authorization: bytes, query: bytes) -> str:
        """Returns the project of a request.

        Raises `Unauthenticated`, `Forbidden`, `NotFound`, `Invalid`, `Unavailable`: refusals are not cached.
        """
        project = self.remembered(authorization, query)
        return project if project is not None else await asyncio.shield(self._start((authorization, query)))

    def _start(self, request: RequestKey) -> asyncio.Task[str]:
        """Starts a look-up, or joins the one in progress for the same key and query."""
        task = self._look_ups.get(request)
        if task is None:
            task = self._look_ups[request] = asyncio.create_task(self._look_up(*request))
            task.add_done_callback(lambda done: self._answered(request, done))
        return task

    def _answered(self, request: RequestKey, task: asyncio.Task[str]) -> None:
        del self._look_ups[request]
        if task.cancelled() or task.exception() is not None:
            self._remembered.pop(request, None)
            return
        if len(self._remembered) >= MOST_REMEMBERED:
            self._remembered.clear()
        self._remembered[request] = (time.monotonic(), task.result())

    async def _look_up(self, authorization: bytes, query: bytes) -> str:
        return await self._lane.run(lambda session: self._open_project(session, authorization, query))

    def _open_project(self, session: Session, authorization: bytes, query: bytes) -> str:
        project = scoped_by(session, self._scope, authorization, query).project
        projects.require_open(session, project)
        return project


def scoped_by(session: Session, scope: wire.Scope, authorization: bytes, query: bytes) -> Scoped:
    """Returns the project of a request from its Authorization header and query string, if its key has `scope`.

    Raises `Unauthenticated`, `Forbidden`, `NotFound`, `Invalid`.
    """
    scheme, _, secret = authorization.decode("latin-1").partition(" ")
    given = secret.strip() if scheme.lower() == "bearer" and secret.strip() else None
    named = dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True)).get("project")
    return project_of(session, require(caller_of(session, given), scope), named)
