"""The fast path of the gateway: FastAPI's layers would cost more than passing a chunk on.

It bypasses `app.web.bodies.BodyGate`, so the gateway makes the same checks with the same functions: key, size, type,
then depth and values of the JSON. It answers errors in OpenAI's shape.
"""

from starlette.types import ASGIApp, Receive, Scope, Send

from app.gateway.gateway import FIGURES_PATH, MODELS_PATH, respond
from app.gateway.openai_errors import openai_error
from app.gateway.requests import CHAT_PATH, TEXT_PATH

PATHS = frozenset({CHAT_PATH, TEXT_PATH, MODELS_PATH, FIGURES_PATH})
OFF = openai_error(
    404,
    "The gateway is off here: set THUMBWHEEL_GATEWAY=true for the API, or run `thumbwheel gateway` and use that.",
    code="gateway_off",
)


class GatewayFastPath:
    """Middleware that passes requests in OpenAI's shape to `api.state.gateway`; None answers that it is off."""

    def __init__(self, app: ASGIApp, more: frozenset[str] = frozenset()) -> None:
        self.app = app
        self._paths = PATHS | more

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not self._takes(scope["path"]):
            await self.app(scope, receive, send)
            return
        gateway: ASGIApp | None = scope["app"].state.gateway
        if gateway is None:
            await respond(send, OFF)
            return
        await gateway(scope, receive, send)

    def _takes(self, path: str) -> bool:
        return path in self._paths or path.startswith(f"{MODELS_PATH}/")
