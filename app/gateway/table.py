"""The routing table: what is live in each project, and where it is served."""

import os
from collections.abc import Mapping, Sequence
from uuid import UUID

from sqlalchemy.orm import Session
from thumbwheel import wire
from thumbwheel.wire.serving import ServerSettings

from app.capacity import Lane
from app.errors import Conflict, NotFound
from app.gateway.kept import KeptFacts
from app.gateway.routes import Canary, ProjectRoutes, Route
from app.projects import service as projects
from app.releases import service as releases
from app.serving import service as serving


def routing_table(lane: Lane) -> KeptFacts[str, ProjectRoutes]:
    """Returns the routes of projects. `get` raises `NotFound`, `Conflict` for an archived project, `Unavailable`."""

    async def read_one(project: str) -> ProjectRoutes:
        return await lane.run(lambda session: read(session, project))

    return KeptFacts(read_one)


def read_all(session: Session, names: Sequence[str]) -> dict[str, ProjectRoutes | None]:
    """Returns the routes of each project, None for one that is gone or archived."""
    return {project: _read(session, project) for project in names}


def _read(session: Session, project: str) -> ProjectRoutes | None:
    try:
        return read(session, project)
    except (NotFound, Conflict):
        return None


def read(session: Session, project: str, environment: Mapping[str, str] = os.environ) -> ProjectRoutes:
    """Returns the routes of a project. Raises `NotFound`, and `Conflict` for an archived one."""
    limits = projects.require_open(session, project).limits
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
    return ProjectRoutes(project, live, canary, before, keyless, limits)


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
