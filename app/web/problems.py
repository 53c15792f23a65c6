"""Problems over HTTP (RFC 9457, problem+json): the status, title and shape of each error."""

import logging
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from app import errors
from app.errors import MOST_FAULTS, Fault, Faults, ThumbwheelError, brief, pointer_into

log = logging.getLogger(__name__)

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
    errors.RateLimited: 429,
    errors.Unavailable: 503,
}

TITLE = {
    400: "Bad request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not found",
    405: "Method not allowed",
    408: "Request timeout",
    409: "Conflict",
    410: "Gone",
    413: "Content too large",
    414: "URI too long",
    415: "Unsupported media type",
    422: "Unprocessable content",
    429: "Too many requests",
    431: "Request header fields too large",
    500: "Internal server error",
    503: "Service unavailable",
}

#: Types of faults that are the code of the whole problem.
NAMED_BY_MODELS = {"invalid_recipe"}
#: The longest `detail` of a problem, which may quote the request.
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
    """Returns the text with lone surrogates, which a quotation of the request may have, as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Returns `responses=` for an operation that may answer with these problems."""
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        status: {"description": TITLE[status], "content": {"application/problem+json": {"schema": schema}}}
        for status in sorted({*statuses, 401, 403, 422, 503})
    }


def fault_of(fault: Mapping[str, Any], body: Any) -> Fault:
    """Returns an error of pydantic as a fault with a JSON pointer into the body (``/signal/value``), or with the name
    of a parameter."""
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
    """Returns the response for an error."""
    status = next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {"Retry-After": "2"} if status == 503 else None
    if isinstance(error, errors.RateLimited):
        headers = error.headers
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
        detail = f"The body is not valid JSON: {broken['ctx']['error']} at character {broken['loc'][-1]}."
        return problem_response(422, "invalid_json", detail, faults=(Fault("/", "is not valid JSON"),))
    faults = Faults((fault_of(fault, error.body) for fault in all_faults), len(all_faults))
    code = next((fault["type"] for fault in all_faults if fault["type"] in NAMED_BY_MODELS), "invalid_request")
    return problem_response(422, code, faults.sentence(), faults=faults, faults_total=faults.total)


def _on_http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    if error.status_code == 400 and error.__cause__ is not None:
        # FastAPI raises this for a body that Python cannot read: not UTF-8, nested too deeply, or a number too long.
        detail = f"The body cannot be read ({type(error.__cause__).__name__}): send plain JSON in UTF-8."
        return problem_response(422, "invalid_json", detail, faults=(Fault("/", "is not valid JSON"),))
    if error.status_code == 413:
        return problem_response(413, "too_large", str(error.detail))
    detail = f"{request.method} {brief(request.scope['path'])}: {error.detail}; see /docs for the operations."
    return problem_response(
        error.status_code, f"http_{error.status_code}", detail, headers=dict(error.headers or {}) or None
    )


def on_crash(request: Request, error: Exception) -> JSONResponse:
    """Logs an unexpected error by its route, as paths may hold actors and vote links; returns the response for it."""
    path = getattr(request.scope.get("route"), "path", request.scope["path"])
    log.error("unexpected error in %s %s", request.method, path, exc_info=error)
    return problem_response(500, "internal_error", "Something unexpected happened; the server's log has the details.")


def install_error_handlers(api: FastAPI) -> None:
    api.add_exception_handler(ThumbwheelError, _on_error)
    api.add_exception_handler(RequestValidationError, _on_invalid)
    api.add_exception_handler(HTTPException, _on_http)
    api.add_exception_handler(Exception, on_crash)
