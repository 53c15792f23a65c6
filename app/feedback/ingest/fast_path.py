"""The fast path of `POST /v1/feedback`: FastAPI's layers would cost more than storing an event.

It bypasses `app.web.bodies.BodyGate`, so `Receiver.event` makes the same checks with the same functions:
size, type, key, then depth and values of the JSON. Requests of pages on other origins are answered here, too.
"""

from starlette.types import ASGIApp, Receive, Scope, Send

from app.feedback.ingest import cors
from app.web.fast_path import FastPath

EVENT_PATH = "/v1/feedback"


class IngestFastPath(FastPath):
    """Middleware that passes single events to `api.state.event_answerer`: see `Receiver.event`."""

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(app, "POST", EVENT_PATH, "event_answerer")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == EVENT_PATH:
            origin = cors.header(scope, b"origin")
            if origin is not None:
                if cors.is_preflight(scope):
                    await cors.answer_preflight(origin, send)
                    return
                if scope["method"] == "POST":
                    send = cors.readable(scope, origin, send)
        await super().__call__(scope, receive, send)
