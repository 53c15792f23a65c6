"""HTTP as the whole API speaks it: problem+json (RFC 9457), statuses, and the session of a request."""

import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from itertools import islice
from typing import Annotated, Any, TypeVar

from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from sqlalchemy.orm import Session
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from app import errors
from app.capacity import Capacity
from app.errors import MOST_FAULTS, Fault, Faults, ThumbwheelError, brief, pointer_into

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


#: Characters of the sentence of a problem, which may quote what was sent.
MOST_DETAIL = 2000


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
    errors: list[ProblemFault] | None = Field(None, max_length=MOST_FAULTS, description=f"the first {MOST_FAULTS}")
    errors_total: int | None = Field(None, description="how many faults there are, where `errors` holds only the first")
    reasons: list[str] | None = None
    details: dict[str, Any] | None = None


def problem_response(
    status: int,
    code: str,
    detail: str,
    *,
    faults: Sequence[Fault] = (),
    faults_total: int = 0,
    reasons: tuple[str, ...] = (),
    details: dict[str, Any] | None = None,
    headers: dict[str, str] | None = None,
) -> JSONResponse:
    problem = Problem(
        type=f"about:thumbwheel/{code}",
        title=TITLE.get(status, "Problem"),
        status=status,
        detail=_sendable(brief(detail, MOST_DETAIL)),
        code=code,
        errors=[
            ProblemFault(pointer=_sendable(brief(fault.pointer)), message=_sendable(brief(fault.message)))
            for fault in islice(faults, MOST_FAULTS)
        ]
        or None,
        errors_total=max(faults_total, len(faults)) if max(faults_total, len(faults)) > MOST_FAULTS else None,
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
        faults_total=error.faults_total,
        reasons=error.reasons,
        details=error.details,
        headers=headers,
    )


def _on_invalid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    all_faults = error.errors()
    broken = next((fault for fault in all_faults if fault["type"] == "json_invalid"), None)
    if broken is not None:
        said = f"The body is no JSON: {broken['ctx']['error']} at character {broken['loc'][-1]}."
        return problem_response(422, "invalid_json", said, faults=(Fault("/", "is no JSON"),))
    faults = Faults((fault_of(fault, error.body) for fault in all_faults), len(all_faults))
    return problem_response(422, "invalid_request", faults.sentence(), faults=faults, faults_total=faults.total)


def _on_http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    if error.status_code == 400 and error.__cause__ is not None:
        # FastAPI's word for a body that Python cannot read: no UTF-8, nested too deeply, a number too long.
        said = f"The body cannot be read ({type(error.__cause__).__name__}): send plain JSON in UTF-8."
        return problem_response(422, "invalid_json", said, faults=(Fault("/", "is no JSON"),))
    if error.status_code == 413:
        return problem_response(413, "too_large", str(error.detail))
    detail = f"{request.method} {brief(request.scope['path'])}: {error.detail}; see /docs for what there is."
    return problem_response(
        error.status_code, f"http_{error.status_code}", detail, headers=dict(error.headers or {}) or None
    )


def _on_crash(request: Request, error: Exception) -> JSONResponse:
    log.error("unexpected error in %s %s", request.method, request.scope["path"], exc_info=error)
    return problem_response(500, "internal_error", "Something unexpected happened; the server's log has the details.")


def install_error_handlers(api: FastAPI) -> None:
    api.add_exception_handler(ThumbwheelError, _on_error)
    api.add_exception_handler(RequestValidationError, _on_invalid)
    api.add_exception_handler(HTTPException, _on_http)
    api.add_exception_handler(Exception, _on_crash)


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
