"""Checks the bodies of requests before they are decoded: key, type, size, depth, number of values."""

from collections.abc import Awaitable, Callable, Collection
from functools import lru_cache

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import Fault, Invalid, ThumbwheelError
from app.web import json_limits
from app.web.problems import error_response, problem_response

MIB = 1024 * 1024
MAX_BATCH_BYTES = 16 * MIB
MAX_COMPLETION_BYTES = 4 * MIB
#: The limit for one event, and for every other body.
MAX_BODY_BYTES = 1 * MIB
METHODS_WITH_BODY = {"POST", "PUT", "PATCH"}
JSON_LINES = {"application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines"}
NOT_JSON = "The body has to be JSON: send it with `Content-Type: application/json`."

Authenticate = Callable[[bytes], Awaitable[None]]


def too_large(limit: int) -> str:
    """Returns the message for a body of more than `limit` bytes."""
    remedy = "send it in several requests" if limit == MAX_BATCH_BYTES else "shorten what it holds"
    return f"The body is larger than {limit // MIB} MiB: {remedy}."


class BodyGate:
    """Refuses bodies of the API: without a known key (401), too large (413), of another type than JSON (415), or nested
    too deeply or with too many values (422).

    authenticate  raises `Unauthenticated` for an Authorization header without a known key
    batches       paths to which a POST may also bring JSON lines and gzip
    streamed      prefixes of paths whose operations check the key and read the body themselves
    """

    def __init__(
        self,
        app: ASGIApp,
        authenticate: Authenticate,
        batches: Collection[str] = (),
        streamed: tuple[str, ...] = (),
        files: Collection[str] = (),
    ) -> None:
        self.app = app
        self.authenticate = authenticate
        self.batches = batches
        self.streamed = streamed
        self.files = files

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in METHODS_WITH_BODY or not scope["path"].startswith("/v1/"):
            await self.app(scope, receive, send)
            return
        path, headers = scope["path"], Headers(scope=scope)
        if path in self.files:
            await self.app(scope, receive, send)
            return
        streamed = path.startswith(self.streamed)
        batch = scope["method"] == "POST" and path in self.batches
        limit = MAX_BATCH_BYTES if batch else MAX_COMPLETION_BYTES if streamed else MAX_BODY_BYTES
        length = headers.get("content-length", "")
        if "transfer-encoding" not in headers and length in ("", "0"):
            await self.app(scope, receive, send)
            return
        try:
            if not streamed:
                await self.authenticate(headers.get("authorization", "").encode("latin-1"))
        except ThumbwheelError as error:
            await error_response(error)(scope, receive, send)
            return
        if length.isdecimal() and int(length[:20]) > limit:
            await problem_response(413, "too_large", too_large(limit))(scope, receive, send)
            return
        reason = _reason_to_refuse(headers, batch=batch)
        if reason is not None:
            await problem_response(415, "not_json", reason)(scope, receive, send)
            return
        if streamed:
            await self.app(scope, _counted(receive, limit), send)
            return
        body = await whole(receive, limit)
        if body is None:  # larger than Content-Length
            await problem_response(413, "too_large", too_large(limit))(scope, receive, send)
            return
        try:
            if not batch:  # a batch is checked line by line once it is decompressed
                require_decodable(body)
        except Invalid as error:
            await error_response(error)(scope, receive, send)
            return
        await self.app(scope, _replayed(body, receive), send)


def _reason_to_refuse(headers: Headers, *, batch: bool) -> str | None:
    kind = media_type(headers.get("content-type", ""))
    if not (_is_json(kind) or (batch and kind in JSON_LINES)):
        return f"{NOT_JSON} For one item per line, use `application/x-ndjson`." if batch else NOT_JSON
    return _reason_not_plain(
        headers.get("content-encoding", "identity"), ("identity", "gzip") if batch else ("identity",)
    )


def require_decodable(body: bytes, most_values: int = json_limits.MOST_VALUES) -> None:
    """Raises `Invalid` for a JSON text that is nested too deeply or has too many values."""
    reason = json_limits.reason_to_refuse(body, most_values)
    if reason is not None:
        raise Invalid(f"The body {reason}.", code="invalid_json", faults=[Fault("/", reason)])


def media_type(content_type: str) -> str:
    """Returns the media type without its parameters, in lower case."""
    return content_type.split(";")[0].strip().lower()


@lru_cache(maxsize=256)
def reason_not_json(content_type: bytes, content_encoding: bytes) -> str | None:
    """Returns the reason why a body of this type is refused, or None if it is plain JSON."""
    if not _is_json(media_type(content_type.decode("latin-1"))):
        return NOT_JSON
    return _reason_not_plain(content_encoding.decode("latin-1"), ("identity",))


def _reason_not_plain(content_encoding: str, supported: Collection[str]) -> str | None:
    encoding = content_encoding.strip().lower()
    if encoding in supported:
        return None
    remedy = "compress the body with gzip, or send it as it is" if "gzip" in supported else "send the body as it is"
    return f"The Content-Encoding {encoding} is not supported: {remedy}."


def _is_json(kind: str) -> bool:
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))


async def whole(receive: Receive, limit: int) -> bytes | None:
    """Returns the body of a request, or its beginning if the client disconnects; None for more than `limit` bytes."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return bytes(body)
        body += message.get("body", b"")
        if len(body) > limit:
            return None
        if not message.get("more_body", False):
            return bytes(body)


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Returns a `receive` that yields the body, already read, to the application."""
    first = True

    async def replayed() -> Message:
        nonlocal first
        if first:
            first = False
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    return replayed


def _counted(receive: Receive, limit: int) -> Receive:
    """Returns a `receive` that raises 413 after more than `limit` bytes."""
    bytes_so_far = 0

    async def counted() -> Message:
        nonlocal bytes_so_far
        message = await receive()
        bytes_so_far += len(message.get("body", b""))
        if bytes_so_far > limit:
            raise HTTPException(413, too_large(limit))  # FastAPI passes on only HTTPException while it reads a body
        return message

    return counted
