"""The routing table: what is live in each project and where it is served, read again about every second.

A request waits for Postgres only if it is the first one of its project. While Postgres is away, the last table holds.
"""

import os
import time
from collections.abc import Mapping, Sequence
from uuid import UUID

from sqlalchemy.orm import Session
from thumbwheel import wire
from thumbwheel.wire.serving import ServerSettings

from app.capacity import Coalesced, Lane
from app.errors import Conflict, NotFound
from app.gateway.routes import Canary, ProjectRoutes, Route
from app.projects import service as projects
from app.releases import service as releases
from app.serving import service as serving

#: A project that was not used for longer is not read in the background; its next request reads it.
USED_SECONDS = 60.0
MOST_PROJECTS = 1000

Read = dict[str, ProjectRoutes | None]


class RoutingTable:
    """The routes of the projects that this process serves."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._routes: dict[str, ProjectRoutes] = {}
        self._used_at: dict[str, float] = {}
        self._first = Coalesced(self._read_first)

    async def of(self, project: str) -> ProjectRoutes:
        """Returns the routes of a project. Raises `NotFound`, `Conflict` for an archived one, and `Unavailable`."""
        self._used_at[project] = time.monotonic()
        return self._routes.get(project) or await self._first(project)

    def known(self) -> Mapping[str, ProjectRoutes]:
        return self._routes

    def in_use(self) -> list[str]:
        """Returns the projects that were used lately, and forgets the others: their next request reads them again."""
        now = time.monotonic()
        for project in [each for each, used in self._used_at.items() if now - used > USED_SECONDS]:
            del self._used_at[project]
            self._routes.pop(project, None)
        return list(self._routes)

    def take(self, read: Read) -> None:
        """Takes the results of `read_all`: None means that the project is gone or archived."""
        for project, routes in read.items():
            if routes is None:
                self._routes.pop(project, None)
            elif project in self._routes:
                self._routes[project] = routes

    async def _read_first(self, project: str) -> ProjectRoutes:
        routes = await self._lane.run(lambda session: read(session, project))
        if len(self._routes) >= MOST_PROJECTS:
            self._routes.clear()
        self._routes[project] = routes
        return routes


def read_all(session: Session, names: Sequence[str]) -> Read:
    """Returns the routes of each project, None for one that is gone or archived."""
    return {project: _read(session, project) for project in names}


def _read(session: Session, project: str) -> ProjectRoutes | None:
    try:
        return read(session, project)
    except (NotFound, Conflict):
        return None


def read(session: Session, project: str, environment: Mapping[str, str] = os.environ) -> ProjectRoutes:
    """Returns the routes of a project. Raises `NotFound`, and `Conflict` for an archived one."""
    projects.require_open(session, project)
    current = releases.current(session, project)
    targets = {target.name: target for target in serving.overview(session, project).targets if target.enabled}
    keyless = sorted(target.name for target in targets.values() if _lacks_key(target, environment))
    usable = {name: target for name, target in targets.items() if name not in keyless}

    def served(checkpoint_id: UUID, release: int) -> list[Route]:
        models = serving.served_models(session, project, checkpoint_id)
        return [
            _route(usable[model.target], model.base_url, model.model, checkpoint_id, release, environment)
            for model in models
            if model.target in usable
        ]

    live = served(current.checkpoint_id, current.number)
    canary = None
    if current.canary is not None:
        release = current.canary
        canary = Canary(release.checkpoint_id, release.share or 0.0, served(release.checkpoint_id, release.number))
    answering = {route.target for route in live}
    before = [
        _route(target, target.url, target.model, target.seen_checkpoint_id, None, environment)
        for target in usable.values()
        if target.name not in answering
        and target.state != "away"
        and target.url is not None
        and target.model is not None
        and target.seen_checkpoint_id is not None
    ]
    return ProjectRoutes(project, live, canary, before, keyless)


def _route(
    target: wire.ServingTarget,
    url: str,
    model: str,
    checkpoint_id: UUID,
    release: int | None,
    environment: Mapping[str, str],
) -> Route:
    variable = _key_variable(target)
    key = None if variable is None else environment[variable]
    return Route(target.name, url, model, target.kind, key, checkpoint_id, release)


def _lacks_key(target: wire.ServingTarget, environment: Mapping[str, str]) -> bool:
    variable = _key_variable(target)
    return variable is not None and not environment.get(variable)


def _key_variable(target: wire.ServingTarget) -> str | None:
    return target.settings.key_env if isinstance(target.settings, ServerSettings) else None
