"""HTTP as the whole API speaks it: problem+json (RFC 9457), statuses, and the session of a request."""

import logging
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from functools import lru_cache
from typing import Annotated, Any, TypeVar

from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from sqlalchemy.orm import Session
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import errors
from app.capacity import Capacity
from app.errors import Fault, ThumbwheelError, pointer_into

log = logging.getLogger(__name__)

Handler = TypeVar("Handler", bound=Callable[..., Any])
_WHOLE_LOG: set[Callable[..., Any]] = set()

STATUS: dict[type[ThumbwheelError], int] = {
    errors.Invalid: 422,
    errors.TooLarge: 413,
    errors.Unauthenticated: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.Gone: 410,
    errors.Conflict: 409,
    errors.Refused: 409,
    errors.StaleLease: 409,
    errors.Unavailable: 503,
}

TITLE = {
    400: "Bad request",
    401: "Who are you?",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    408: "Request timeout",
    409: "Conflict",
    410: "Gone",
    413: "Too large",
    414: "URL too long",
    415: "Unsupported media type",
    422: "Invalid",
    431: "Headers too large",
    500: "Our fault",
    503: "Unavailable",
}


class ProblemFault(BaseModel):
    pointer: str = Field(description="JSON pointer into the body, or the name of a parameter", examples=["/completion"])
    message: str


class Problem(BaseModel):
    """RFC 9457 problem details."""

    type: str = Field(
        description="about:thumbwheel/ and the stable code", examples=["about:thumbwheel/invalid_request"]
    )
    title: str
    status: int
    detail: str = Field(description="what happened and the remedy, in a sentence")
    code: str
    errors: list[ProblemFault] | None = None
    reasons: list[str] | None = None
    details: dict[str, Any] | None = None


def problem_response(
    status: int,
    code: str,
    detail: str,
    *,
    faults: tuple[Fault, ...] = (),
    reasons: tuple[str, ...] = (),
    details: dict[str, Any] | None = None,
    headers: dict[str, str] | None = None,
) -> JSONResponse:
    problem = Problem(
        type=f"about:thumbwheel/{code}",
        title=TITLE.get(status, "Problem"),
        status=status,
        detail=_sendable(detail),
        code=code,
        errors=[ProblemFault(pointer=_sendable(f.pointer), message=_sendable(f.message)) for f in faults] or None,
        reasons=list(reasons) or None,
        details=details or None,
    )
    return JSONResponse(
        problem.model_dump(exclude_none=True), status, headers=headers, media_type="application/problem+json"
    )


def _sendable(text: str) -> str:
    """What the caller sent may be quoted, lone surrogates too: they are spelt out."""
    return text.encode("utf-8", "backslashreplace").decode()


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses=` of an operation that may answer with these problems."""
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        status: {"description": TITLE[status], "content": {"application/problem+json": {"schema": schema}}}
        for status in sorted({*statuses, 401, 403, 422, 503})
    }


def fault_of(fault: Mapping[str, Any], body: Any) -> Fault:
    """One of pydantic's errors: a JSON pointer for a place in the body (``/signal/value``), the name of a parameter."""
    source, *path = fault["loc"]
    message = fault["msg"].removeprefix("Value error, ")
    if source != "body":
        return Fault("/".join(str(part) for part in path), message)
    if fault["type"] == "json_invalid":
        return Fault("/", f"{message}: {fault['ctx']['error']}")
    return Fault(pointer_into(body, path, missing=fault["type"] == "missing") or "/", message)


def _on_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ThumbwheelError)
    return error_response(error)


def error_response(error: ThumbwheelError) -> JSONResponse:
    """The problem that an error is to whoever asked."""
    status = next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {"Retry-After": "2"} if status == 503 else None
    return problem_response(
        status,
        error.code,
        error.message,
        faults=error.faults,
        reasons=error.reasons,
        details=error.details,
        headers=headers,
    )


def _on_invalid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    broken = next((fault for fault in error.errors() if fault["type"] == "json_invalid"), None)
    if broken is not None:
        said = f"The body is no JSON: {broken['ctx']['error']} at character {broken['loc'][-1]}."
        return problem_response(422, "invalid_json", said, faults=(Fault("/", "is no JSON"),))
    faults = tuple(fault_of(fault, error.body) for fault in error.errors())
    first = faults[0]
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return problem_response(422, "invalid_request", f"{first.pointer}: {first.message}{more}.", faults=faults)


def _on_http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    if error.status_code == 400 and error.__cause__ is not None:
        # FastAPI's word for a body that Python cannot read: no UTF-8, nested too deeply, a number too long.
        said = f"The body cannot be read ({type(error.__cause__).__name__}): send plain JSON in UTF-8."
        return problem_response(422, "invalid_json", said, faults=(Fault("/", "is no JSON"),))
    if error.status_code == 413:
        return problem_response(413, "too_large", str(error.detail))
    detail = f"{request.method} {request.url.path}: {error.detail}; see /docs for what there is."
    return problem_response(
        error.status_code, f"http_{error.status_code}", detail, headers=dict(error.headers or {}) or None
    )


def _on_crash(request: Request, error: Exception) -> JSONResponse:
    log.error("unexpected error in %s %s", request.method, request.url.path, exc_info=error)
    return problem_response(500, "internal_error", "Something unexpected happened; the server's log has the details.")


def install_error_handlers(api: FastAPI) -> None:
    api.add_exception_handler(ThumbwheelError, _on_error)
    api.add_exception_handler(RequestValidationError, _on_invalid)
    api.add_exception_handler(HTTPException, _on_http)
    api.add_exception_handler(Exception, _on_crash)


MAX_BODY_BYTES = 16 * 1024 * 1024
METHODS_WITH_BODY = {"POST", "PUT", "PATCH"}
JSON_LINES = {"application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines"}
TOO_LARGE = f"The body is larger than {MAX_BODY_BYTES // 1024 // 1024} MiB: send it in several requests."
NOT_JSON = "The body has to be JSON: send it with `Content-Type: application/json`."


class BodyGate:
    """Refuses bodies of the API before they are read: over `MAX_BODY_BYTES` (413), of another type than JSON (415).

    A body without a length (chunked) is counted while it comes in. What `batches` name takes JSON lines and gzip too.
    """

    def __init__(self, app: ASGIApp, batches: Collection[str] = ()) -> None:
        self.app = app
        self.batches = batches

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in METHODS_WITH_BODY or not scope["path"].startswith("/v1/"):
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length) > MAX_BODY_BYTES:
            await problem_response(413, "too_large", TOO_LARGE)(scope, receive, send)
            return
        if "transfer-encoding" in headers or length not in ("", "0"):
            reason = self._reason_to_refuse(scope["path"], headers)
            if reason is not None:
                await problem_response(415, "not_json", reason)(scope, receive, send)
                return
        await self.app(scope, _counted(receive), send)

    def _reason_to_refuse(self, path: str, headers: Headers) -> str | None:
        batch = path in self.batches
        kind = media_type(headers.get("content-type", ""))
        if not (_is_json(kind) or (batch and kind in JSON_LINES)):
            return f"{NOT_JSON} One event a line goes as `application/x-ndjson`." if batch else NOT_JSON
        return _reason_not_plain(
            headers.get("content-encoding", "identity"), ("identity", "gzip") if batch else ("identity",)
        )


def media_type(content_type: str) -> str:
    """The type without its parameters."""
    return content_type.split(";")[0].strip().lower()


def _reason_not_plain(content_encoding: str, taken: Collection[str]) -> str | None:
    encoding = content_encoding.strip().lower()
    if encoding in taken:
        return None
    remedy = "compress it with gzip, or send it as it is" if "gzip" in taken else "send it as it is"
    return f"The body comes in Content-Encoding {encoding}, which is not read here: {remedy}."


def _is_json(kind: str) -> bool:
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))


def _counted(receive: Receive) -> Receive:
    """`receive` that raises 413 once more than `MAX_BODY_BYTES` have come in."""
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > MAX_BODY_BYTES:
            raise HTTPException(413, TOO_LARGE)  # the one kind of error that FastAPI lets through while it reads
        return message

    return counted


class Api(FastAPI):
    """FastAPI, and in front of it operations that answer bytes with bytes themselves, by method and path.

    They are declared as all others are, for the document; FastAPI's layers would cost more than to store an event.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.direct: dict[tuple[str, str], ASGIApp] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        operation = self.direct.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        if operation is None:
            await super().__call__(scope, receive, send)
            return
        try:
            await operation(scope, receive, send)
        except ThumbwheelError as error:
            await error_response(error)(scope, receive, send)
        except Exception as error:  # noqa: BLE001 - logged there; nothing has been sent yet
            await _on_crash(Request(scope), error)(scope, receive, send)


class Passed(Response):
    """The answer of an operation that writes it itself."""

    def __init__(self, operation: ASGIApp) -> None:
        super().__init__()
        self._operation = operation

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._operation(scope, receive, send)


@lru_cache(maxsize=256)
def reason_not_json(content_type: bytes, content_encoding: bytes) -> str | None:
    """Why a body of this type is not read, None where it is plain JSON."""
    if not _is_json(media_type(content_type.decode("latin-1"))):
        return NOT_JSON
    return _reason_not_plain(content_encoding.decode("latin-1"), ("identity",))


def reads_whole_log(handler: Handler) -> Handler:
    """Marks a handler that reads a whole log each time: few of them run at once, on connections of their own."""
    _WHOLE_LOG.add(handler)
    return handler


async def _session(request: Request) -> AsyncIterator[Session]:
    capacity: Capacity = request.app.state.capacity
    async with capacity.session(whole_log=request.scope["endpoint"] in _WHOLE_LOG) as session:
        yield session


#: The transaction of a request. `scope="function"` commits it before the response is sent: a 2xx means committed.
Transaction = Annotated[Session, Depends(_session, scope="function")]
