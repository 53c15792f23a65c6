"""Fast paths: operations that read and write bytes themselves and bypass FastAPI."""

from fastapi import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from app.errors import ThumbwheelError
from app.web.problems import error_response, on_crash


class FastPath:
    """Middleware that passes one operation to an ASGI application, `api.state.<answerer>`.

    No later middleware and no dependency of FastAPI sees such a request: the application makes every check itself.
    Middleware for all requests has to come earlier.
    """

    def __init__(self, app: ASGIApp, method: str, path: str, answerer: str) -> None:
        self.app = app
        self._operation = (method, path)
        self._answerer = answerer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or (scope["method"], scope["path"]) != self._operation:
            await self.app(scope, receive, send)
            return
        answerer: ASGIApp = getattr(scope["app"].state, self._answerer)
        try:
            await answerer(scope, receive, send)
        except ThumbwheelError as error:
            await error_response(error)(scope, receive, send)
        except Exception as error:  # noqa: BLE001 - it is logged there, and no byte has been sent yet
            await on_crash(Request(scope), error)(scope, receive, send)
