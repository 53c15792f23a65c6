"""Serves the current release to many polling clients: concurrent requests share one query."""

from typing import NamedTuple

from sqlalchemy.orm import Session
from starlette.types import ASGIApp, Receive, Scope, Send

from app.capacity import Coalesced, Lane
from app.projects.admission import scoped_by
from app.releases import service
from app.web.fast_path import FastPath

CURRENT_PATH = "/v1/releases/current"
#: The parameters in the OpenAPI document.
PARAMETERS = [
    {
        "name": "project",
        "in": "query",
        "required": False,
        "description": "the project; may be left out if the key opens only one",
        "schema": {"type": "string"},
    },
    {
        "name": "if-none-match",
        "in": "header",
        "required": False,
        "description": "`ETag` of the release that the caller has",
        "schema": {"type": "string"},
    },
]


class _Live(NamedTuple):
    tag: bytes
    body: bytes


class CurrentReleaseFastPath(FastPath):
    """Middleware that passes the operation to `api.state.current_release`: see `CurrentReleaseEndpoint`."""

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(app, "GET", CURRENT_PATH, "current_release")


class CurrentReleaseEndpoint:
    """Answers `GET /v1/releases/current` in the event loop, on connections of its own."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._find: Coalesced[tuple[bytes, bytes], _Live] = Coalesced(self._found)

    async def __call__(self, scope: Scope, _: Receive, send: Send) -> None:
        """Answers a request. Raises the errors of `projects.admission.scoped_by`."""
        authorization, known = b"", []
        for name, value in scope["headers"]:
            if name == b"authorization":
                authorization = value
            elif name == b"if-none-match":
                known += [part.strip().removeprefix(b"W/") for part in value.split(b",")]
        live = await self._find((authorization, scope["query_string"]))
        headers = [(b"etag", live.tag)]
        if live.tag in known:
            await send({"type": "http.response.start", "status": 304, "headers": headers})
            await send({"type": "http.response.body"})
            return
        headers += [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(live.body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": live.body})

    async def _found(self, request: tuple[bytes, bytes]) -> _Live:
        return await self._lane.run(lambda session: _live(session, *request))


def _live(session: Session, authorization: bytes, query: bytes) -> _Live:
    at = scoped_by(session, "runs:read", authorization, query)
    release = service.current(session, at.project)
    newest = release if release.canary is None else release.canary
    return _Live(f'"{newest.id}"'.encode(), release.model_dump_json().encode())
