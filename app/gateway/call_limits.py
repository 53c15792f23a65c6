"""The limits on completions by the gateway: of the caller's key, of the project, and of one actor in both."""

from app.access.caller import Caller
from app.access.limits import Limit, LimitName
from app.gateway.requests import OpenAIRequest
from app.gateway.routes import ProjectRoutes


def counters(caller: Caller, routes: ProjectRoutes, request: OpenAIRequest) -> list[tuple[Limit, str]]:
    """Returns the limits of a request, each with the value that it counts. A request without an actor has those of no
    actor."""
    key, actor = str(caller.key_id), request.actor
    quotas: tuple[tuple[LimitName, str, int | None, str | None], ...] = (
        ("key-gateway", key, caller.limits.gateway_per_minute, ""),
        ("key-gateway-actor", key, caller.limits.gateway_actor_per_minute, actor),
        ("project-gateway", routes.project, routes.limits.gateway_per_minute, ""),
        ("project-gateway-actor", routes.project, routes.limits.gateway_actor_per_minute, actor),
    )
    return [
        (Limit(name, of, quota), value) for name, of, quota, value in quotas if quota is not None and value is not None
    ]
