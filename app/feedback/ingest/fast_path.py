"""The fast path of `POST /v1/feedback`: FastAPI's layers would cost more than storing an event.

It bypasses `app.web.bodies.BodyGate`, so `Receiver.event` makes the same checks with the same functions:
size, type, key, then depth and values of the JSON.
"""

from starlette.types import ASGIApp

from app.web.fast_path import FastPath

EVENT_PATH = "/v1/feedback"


class IngestFastPath(FastPath):
    """Middleware that passes single events to `api.state.event_answerer`: see `Receiver.event`."""

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(app, "POST", EVENT_PATH, "event_answerer")
