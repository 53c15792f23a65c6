"""Errors in OpenAI's shape: `{"error": {"message", "type", "code", "param"}}`. Pure."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from app.errors import RateLimited, ThumbwheelError, brief

MOST_MESSAGE = 2000
RETRY_SECONDS = 2
#: OpenAI answers an invalid body with 400, and its clients have a class of errors for it.
INVALID, UNPROCESSABLE, CONFLICT = 400, 422, 409

TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    413: "invalid_request_error",
    415: "invalid_request_error",
    429: "rate_limit_error",
}


class OpenAIError(NamedTuple):
    """An answer to a request that was refused or failed."""

    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()


def openai_error(status: int, message: str, *, code: str | None, param: str | None = None) -> OpenAIError:
    """Returns the answer. A 503 says when to try again, a 401 how to authenticate."""
    error = {
        "message": _sendable(brief(message, MOST_MESSAGE)),
        "type": TYPES.get(status, "server_error"),
        "param": None if param is None else _sendable(brief(param)),
        "code": code,
    }
    headers: tuple[tuple[bytes, bytes], ...] = ()
    if status == 503:
        headers = ((b"retry-after", b"%d" % RETRY_SECONDS),)
    elif status == 401:
        headers = ((b"www-authenticate", b"Bearer"),)
    return OpenAIError(status, msgspec.json.encode({"error": error}), headers)


def of_refusal(error: ThumbwheelError, status: int) -> OpenAIError:
    """Returns the answer to an error of ours whose status in the rest of the API is `status`."""
    param = error.faults[0].pointer.strip("/") or None if error.faults else None
    at = INVALID if status == UNPROCESSABLE else status
    answer = openai_error(at, error.message, code=error.code, param=param)
    return answer._replace(headers=sendable(error.headers)) if isinstance(error, RateLimited) else answer


def sendable(headers: Mapping[str, str]) -> tuple[tuple[bytes, bytes], ...]:
    """Returns headers as ASGI has them."""
    return tuple((name.lower().encode(), value.encode()) for name, value in headers.items())


def of_target(status: int, body: bytes) -> OpenAIError:
    """Returns a refusal by a target in OpenAI's shape, whichever of the usual shapes it has."""
    message: Any = ""
    code = param = kind = None
    try:
        document = msgspec.json.decode(body)
    except (ValueError, RecursionError):
        document = None
    if isinstance(document, dict):
        error: Any = document.get("error", document)
        if isinstance(error, dict):
            message = error.get("message") or document.get("detail") or ""
            code, param, kind = error.get("code"), error.get("param"), error.get("type")
        else:
            message = error
    if not isinstance(message, str):
        message = msgspec.json.encode(message).decode()
    answer = openai_error(
        status,
        message or f"The server that serves the model answered {status}.",
        code=code if isinstance(code, str) else None,
        param=param if isinstance(param, str) else None,
    )
    if not isinstance(kind, str):
        return answer
    shown = msgspec.json.decode(answer.body)
    shown["error"]["type"] = kind
    return answer._replace(body=msgspec.json.encode(shown))


def _sendable(text: str) -> str:
    """Returns the text with lone surrogates, which a quotation of the request may have, as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()
