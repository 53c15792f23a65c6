"""The figures of a gateway that `GET /v1/gateway` returns."""

from collections.abc import Hashable, Mapping
from typing import Any

from app.gateway.counters import Counters
from app.gateway.routes import ProjectRoutes


def by_project(
    counters: Counters, routes: Mapping[str, ProjectRoutes], resting: Mapping[Hashable, str], only: str | None
) -> dict[str, dict[str, Any]]:
    """Returns the figures of each project, or those of the project `only`.

    resting  why each endpoint rests that does
    """
    names = {*routes, *counters.registered_by_project, *counters.unregistered_by_project}
    return {
        name: {
            "registered": counters.registered_by_project.get(name, 0),
            "unregistered": dict(counters.unregistered_by_project.get(name, {})),
            **(_targets(routes[name], resting) if name in routes else {}),
        }
        for name in sorted(names if only is None else names & {only})
    }


def _targets(routes: ProjectRoutes, resting: Mapping[Hashable, str]) -> dict[str, Any]:
    canary = [] if routes.canary is None else routes.canary.routes
    return {
        "live_targets": [route.target for route in routes.live],
        "canary_targets": [route.target for route in canary],
        "targets_with_another_checkpoint": [route.target for route in routes.before],
        "targets_without_key": list(routes.keyless),
        "resting": {
            route.target: resting[route.endpoint]
            for route in (*routes.live, *canary, *routes.before)
            if route.endpoint in resting
        },
    }
