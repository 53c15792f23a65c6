"""Who may write into which project, remembered for a moment: the way of an event asks thousands of times a second."""

import asyncio
import time
from urllib.parse import parse_qsl

from sqlalchemy.orm import Session
from thumbwheel import wire

from app.access.caller import caller_of, require
from app.capacity import Lane
from app.projects import service as projects
from app.projects.scoped import Scoped, project_of

#: After so many seconds a key is looked up again, while its requests go on.
ASKED_AGAIN_SECONDS = 0.5
#: For so long a key that was revoked may still bring in feedback.
REMEMBERED_SECONDS = 1.0
MOST_REMEMBERED = 10_000

Asked = tuple[bytes, bytes]


class Admission:
    """Keys that may do what needs `scope`, and the project that each of their requests means.

    A request is known by its Authorization header and its query string.
    """

    def __init__(self, scope: wire.Scope, lane: Lane) -> None:
        self._scope = scope
        self._lane = lane
        self._remembered: dict[Asked, tuple[float, str]] = {}
        self._asking: dict[Asked, asyncio.Task[str]] = {}

    def remembered(self, authorization: bytes, query: bytes) -> str | None:
        """The project of a request, where it was looked up a moment ago."""
        found = self._remembered.get((authorization, query))
        if found is None:
            return None
        age = time.monotonic() - found[0]
        if age > ASKED_AGAIN_SECONDS:
            self._ask((authorization, query))
        return found[1] if age < REMEMBERED_SECONDS else None

    async def admit(self, authorization: bytes, query: bytes) -> str:
        """The project of a request.

        Raises `Unauthenticated`, `Forbidden`, `NotFound`, `Invalid`, `Unavailable`: refusals are not remembered.
        """
        known = self.remembered(authorization, query)
        return known if known is not None else await asyncio.shield(self._ask((authorization, query)))

    def _ask(self, asked: Asked) -> asyncio.Task[str]:
        """One question at a time, however many requests wait for its answer."""
        task = self._asking.get(asked)
        if task is None:
            task = self._asking[asked] = asyncio.create_task(self._look_up(*asked))
            task.add_done_callback(lambda done: self._answered(asked, done))
        return task

    def _answered(self, asked: Asked, task: asyncio.Task[str]) -> None:
        del self._asking[asked]
        if task.cancelled() or task.exception() is not None:
            self._remembered.pop(asked, None)
            return
        if len(self._remembered) >= MOST_REMEMBERED:
            self._remembered.clear()
        self._remembered[asked] = (time.monotonic(), task.result())

    async def _look_up(self, authorization: bytes, query: bytes) -> str:
        return await self._lane.run(lambda session: self._open_project(session, authorization, query))

    def _open_project(self, session: Session, authorization: bytes, query: bytes) -> str:
        project = scoped_by(session, self._scope, authorization, query).project
        projects.require_open(session, project)
        return project


def scoped_by(session: Session, scope: wire.Scope, authorization: bytes, query: bytes) -> Scoped:
    """The project of a request, by its Authorization header and query string; its key may do what needs `scope`.

    Raises `Unauthenticated`, `Forbidden`, `NotFound`, `Invalid`.
    """
    scheme, _, secret = authorization.decode("latin-1").partition(" ")
    given = secret.strip() if scheme.lower() == "bearer" and secret.strip() else None
    named = dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True)).get("project")
    return project_of(session, require(caller_of(session, given), scope), named)
