"""Cross-origin requests of pages that send events by a browser key (CORS of the Fetch standard).

A preflight carries no key, so it is answered alike for every origin, without asking anybody. Whether a page may use a
key is decided by the request itself: see `browser_events`. Other operations have no such headers, so that a page of
another origin cannot call them, whatever key it has.
"""

from starlette.types import Message, Scope, Send

from app.access.keys import BROWSER_SCHEME

#: Seconds for which a browser remembers a preflight.
PREFLIGHT_SECONDS = 7200
_KEY = f"bearer {BROWSER_SCHEME}".encode()
_PREFLIGHT = [
    (b"access-control-allow-methods", b"POST"),
    (b"access-control-allow-headers", b"authorization, content-type"),
    (b"access-control-max-age", b"%d" % PREFLIGHT_SECONDS),
]


def header(scope: Scope, name: bytes) -> bytes | None:
    """Returns the first header of this name."""
    for key, value in scope["headers"]:
        if key == name:
            return bytes(value)
    return None


def is_preflight(scope: Scope) -> bool:
    return scope["method"] == "OPTIONS" and header(scope, b"access-control-request-method") is not None


async def answer_preflight(origin: bytes, send: Send) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": [*_readable_by(origin), *_PREFLIGHT]})
    await send({"type": "http.response.body"})


def readable(scope: Scope, origin: bytes, send: Send) -> Send:
    """Returns a `send` that lets a page of `origin` read the answer, errors included, if it sent a browser key.

    With any other key the page gets an error of its browser instead: such a key does not belong into a page.
    """
    if not (header(scope, b"authorization") or b"").lower().startswith(_KEY):
        return send

    async def send_readable(message: Message) -> None:
        if message["type"] == "http.response.start":
            exposed = (b"access-control-expose-headers", b"RateLimit, RateLimit-Policy, Retry-After")
            message = {**message, "headers": [*message["headers"], *_readable_by(origin), exposed]}
        await send(message)

    return send_readable


def _readable_by(origin: bytes) -> list[tuple[bytes, bytes]]:
    return [(b"access-control-allow-origin", origin), (b"vary", b"Origin")]
