"""Caches for a moment which key may write to which project: ingest checks this thousands of times a second."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import parse_qsl

from sqlalchemy.orm import Session
from thumbwheel import wire

from app.access.caller import Caller, caller_of, require
from app.access.limits import Limit, LimitName, network_of
from app.capacity import Lane
from app.projects import service as projects
from app.projects.project_of_request import Scoped, project_of

#: Age in seconds after which an entry is looked up again in the background.
REFRESH_SECONDS = 0.5
#: Age in seconds at which an entry expires: a revoked key may send feedback for this long if its process does not hear
#: of it.
REMEMBERED_SECONDS = 1.0
MOST_REMEMBERED = 10_000
#: Longer headers and query strings are not remembered: anybody who has a browser key could fill the memory with them.
MOST_BYTES = 2000

OF_ACTORS = frozenset({"actor", "project-actor"})

RequestKey = tuple[bytes, bytes]


@dataclass(frozen=True)
class FeedbackRules:
    """The origins of a browser key, and the limits of a key and its project."""

    origins: frozenset[str]
    limits: tuple[Limit, ...]

    @property
    def limits_actors(self) -> bool:
        return any(limit.name in OF_ACTORS for limit in self.limits)

    def of_actor(self, actor: str) -> list[tuple[Limit, str]]:
        """Returns the limits of one actor, each with the actor."""
        return [(limit, actor) for limit in self.limits if limit.name in OF_ACTORS]

    def counters(self, *, actor: str | None, address: str | None) -> Iterator[tuple[Limit, str]]:
        """Yields the limits of a request, each with the value that it counts. None: those limits do not apply."""
        for limit in self.limits:
            if limit.name in OF_ACTORS:
                if actor is not None:
                    yield limit, actor
            elif limit.name == "address":
                if address is not None:
                    yield limit, network_of(address)
            else:
                yield limit, ""


class Admitted(NamedTuple):
    """The project of an admitted request, and the rules for it: None for most keys of backends."""

    project: str
    rules: FeedbackRules | None


class Admission:
    """Admits requests whose key has `scope`, and finds the project and the rules of each. Browser keys are admitted:
    the caller refuses those where they may do nothing.

    A request is identified by its Authorization header and its query string.
    """

    def __init__(self, scope: wire.Scope, lane: Lane) -> None:
        self._scope = scope
        self._lane = lane
        self._remembered: dict[RequestKey, tuple[float, Admitted]] = {}
        self._look_ups: dict[RequestKey, asyncio.Task[Admitted]] = {}

    def forget(self) -> None:
        """Looks every key up again, since one has changed. A look-up in progress may have read it before the change."""
        self._remembered.clear()
        self._look_ups.clear()

    def remembered(self, authorization: bytes, query: bytes) -> Admitted | None:
        """Returns the project and the rules of a request if it is cached and fresh enough; None otherwise."""
        entry = self._remembered.get((authorization, query))
        if entry is None:
            return None
        looked_up, admitted = entry
        age = time.monotonic() - looked_up
        if age > REFRESH_SECONDS:
            self._start((authorization, query))
        return admitted if age < REMEMBERED_SECONDS else None

    async def admit(self, authorization: bytes, query: bytes) -> Admitted:
        """Returns the project and the rules of a request.

        Raises `Unauthenticated`, `Forbidden`, `NotFound`, `Invalid`, `Unavailable`: refusals are not cached.
        """
        admitted = self.remembered(authorization, query)
        return admitted if admitted is not None else await asyncio.shield(self._start((authorization, query)))

    def _start(self, request: RequestKey) -> asyncio.Task[Admitted]:
        """Starts a look-up, or joins the one in progress for the same key and query."""
        task = self._look_ups.get(request)
        if task is None:
            task = self._look_ups[request] = asyncio.create_task(self._look_up(*request))
            task.add_done_callback(lambda done: self._answered(request, done))
        return task

    def _answered(self, request: RequestKey, task: asyncio.Task[Admitted]) -> None:
        failed = task.cancelled() or task.exception() is not None
        if self._look_ups.get(request) is not task:  # forgotten: the result may be out of date
            return
        del self._look_ups[request]
        if failed:
            self._remembered.pop(request, None)
            return
        if sum(map(len, request)) > MOST_BYTES:
            return
        if len(self._remembered) >= MOST_REMEMBERED:
            self._remembered.clear()
        self._remembered[request] = (time.monotonic(), task.result())

    async def _look_up(self, authorization: bytes, query: bytes) -> Admitted:
        return await self._lane.run(lambda session: self._open_project(session, authorization, query))

    def _open_project(self, session: Session, authorization: bytes, query: bytes) -> Admitted:
        caller, named = caller_and_project(session, authorization, query, browsers=True)
        at = project_of(session, require(caller, self._scope), named)
        project = projects.require_open(session, at.project)
        return Admitted(at.project, _rules(caller, project))


def rules_of_project(project: wire.Project) -> FeedbackRules | None:
    """Returns the rules for feedback that comes without a key; None without limits."""
    limits = _limits_of_project(project)
    return FeedbackRules(frozenset(), limits) if limits else None


def _rules(caller: Caller, project: wire.Project) -> FeedbackRules | None:
    key, own = str(caller.key_id), caller.limits
    limits = (
        *_limits(
            ("key", key, own.per_minute),
            ("actor", key, own.actor_per_minute),
            ("address", key, own.address_per_minute),
        ),
        *_limits_of_project(project),
    )
    return FeedbackRules(caller.origins, limits) if caller.origins or limits else None


def _limits_of_project(project: wire.Project) -> tuple[Limit, ...]:
    own = project.limits
    return _limits(
        ("project", project.project, own.per_minute), ("project-actor", project.project, own.actor_per_minute)
    )


def _limits(*quotas: tuple[LimitName, str, int | None]) -> tuple[Limit, ...]:
    return tuple(Limit(name, of, quota) for name, of, quota in quotas if quota is not None)


def scoped_by(session: Session, scope: wire.Scope, authorization: bytes, query: bytes) -> Scoped:
    """Returns the project of a request from its Authorization header and query string, if its key has `scope`.

    Raises `Unauthenticated`, `Forbidden`, `NotFound`, `Invalid`.
    """
    caller, named = caller_and_project(session, authorization, query, browsers=False)
    return project_of(session, require(caller, scope), named)


def caller_and_project(
    session: Session, authorization: bytes, query: bytes, *, browsers: bool
) -> tuple[Caller, str | None]:
    """Returns the holder of the key in the header, and the project that the query string names."""
    scheme, _, secret = authorization.decode("latin-1").partition(" ")
    given = secret.strip() if scheme.lower() == "bearer" and secret.strip() else None
    named = dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True)).get("project")
    return caller_of(session, given, browsers=browsers), named
