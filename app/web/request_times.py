"""Measures the requests of one process: how many, and how long until the answer begins, by method, route and status.

It is in the way of every event, so a request costs two readings of the clock and one entry of a dictionary; everything
else happens when the figures are read. See docs/metrics.md for what it costs.
"""

from collections.abc import Awaitable, Collection
from time import perf_counter
from typing import NamedTuple

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.histogram import Histogram

#: The route of requests whose path is unknown, or that were refused before their path was looked at.
NO_ROUTE = "none"


class RequestKind(NamedTuple):
    """The requests that are counted together. `route`: a template such as ``/v1/runs/{run_id}``."""

    method: str
    route: str
    status: int


class RequestTimes:
    """The time until the answer began, of all requests since the process started. Written in the event loop alone."""

    def __init__(self) -> None:
        self.by_kind: dict[tuple[str, str, int], Histogram] = {}

    def copied(self) -> list[tuple[RequestKind, Histogram]]:
        """Returns the figures as they are now, for another thread."""
        found = []
        for kind, times in self.by_kind.items():
            copy = Histogram()
            copy.add(times)
            found.append((RequestKind(*kind), copy))
        return found


class MeasuredRequests:
    """Middleware that measures every request. It has to be the outermost one.

    exact  paths that have no parameters and may be answered before FastAPI finds their route
    """

    def __init__(self, app: ASGIApp, times: RequestTimes, exact: Collection[str]) -> None:
        self.app = app
        self._by_kind = times.by_kind
        self._exact = frozenset(exact)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        by_kind, exact = self._by_kind, self._exact
        answered = False
        begun = perf_counter()

        def measured(message: Message) -> Awaitable[None]:
            nonlocal answered
            if message["type"] == "http.response.start":
                answered = True
                path = scope["path"]
                kind = (scope["method"], path if path in exact else _template(scope), message["status"])
                if kind not in by_kind:
                    by_kind[kind] = Histogram()
                by_kind[kind].observe(perf_counter() - begun)
            return send(message)

        try:
            await self.app(scope, receive, measured)
        except Exception:
            if not answered:  # Starlette answers with 500, outside of this middleware
                times = by_kind.setdefault((scope["method"], _template(scope), 500), Histogram())
                times.observe(perf_counter() - begun)
            raise


def _template(scope: Scope) -> str:
    return scope["route"].path if "route" in scope else NO_ROUTE
