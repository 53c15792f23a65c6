"""Shows errors outside of the API as HTML pages to browsers, and as problem+json to programs."""

import json
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.dashboard.html import rendered

PROBLEM = "application/problem+json"
API = "/v1/"
#: Headers of the problem that the page keeps.
COPIED = ("www-authenticate", "retry-after", "allow")


class ErrorPages:
    """Middleware that renders a problem as a page for a browser."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(API) or not _is_browser(Headers(scope=scope)):
            await self.app(scope, receive, send)
            return
        problem: Message | None = None
        body = b""

        async def send_page(message: Message) -> None:
            nonlocal problem, body
            if message["type"] == "http.response.start" and _is_problem(message):
                problem = message
            elif problem is None:
                await send(message)
            elif message["type"] == "http.response.body":
                body += message.get("body", b"")
                if not message.get("more_body", False):
                    await _page(problem, body)(scope, receive, send)

        await self.app(scope, receive, send_page)


def _is_browser(headers: Headers) -> bool:
    """Returns whether the client prefers HTML: browsers name it first, programs name JSON or any type (``*/*``)."""
    return headers.get("accept", "").lstrip().startswith(("text/html", "application/xhtml"))


def _is_problem(message: Message) -> bool:
    return Headers(raw=message["headers"]).get("content-type", "").startswith(PROBLEM)


def _page(problem: Message, body: bytes) -> ASGIApp:
    document: dict[str, Any] = json.loads(body)
    headers = Headers(raw=problem["headers"])
    return rendered(
        "error.html",
        status=problem["status"],
        headers={name: headers[name] for name in COPIED if name in headers},
        problem={"title": document["title"], "status": problem["status"], "detail": document["detail"]},
    )
