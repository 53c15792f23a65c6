"""The fast path of `POST /v1/feedback`: FastAPI's layers would cost more than to store an event.

It stands before the gate of bodies (`app.web.bodies.BodyGate`), so `Receiver.event` makes the same checks, by the same
functions: size, type, key, then depth and values of the JSON.
"""

from starlette.types import ASGIApp

from app.web.fast_path import FastPath

EVENT_PATH = "/v1/feedback"


class IngestFastPath(FastPath):
    """Middleware that has single events answered by `api.state.event_answerer`: see `Receiver.event`."""

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(app, "POST", EVENT_PATH, "event_answerer")
