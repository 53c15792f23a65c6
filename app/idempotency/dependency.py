"""Provides `Once`, the dependency of operations that may be sent with an Idempotency-Key."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, TypeVar

from fastapi import Depends, Header, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from sqlalchemy.orm import Session

from app.access.operator_log import service as operator_log
from app.errors import Fault, Invalid
from app.idempotency import service
from app.idempotency.service import HEADER, Answer, KeyedRequest

Done = TypeVar("Done", bound=BaseModel)

LONGEST = 255
ABOUT = (
    "Performs the operation only once: the same key and body get the first answer again, with "
    f"`Idempotency-Replayed: true`, for {service.KEPT.days} days"
)


@dataclass(frozen=True)
class Keyed:
    """The key and operation of a request. Without a `key` the operation is simply performed."""

    key: str | None
    operation: str
    status: int

    def once(
        self, session: Session, project: str, body: BaseModel | None, do: Callable[[], Done]
    ) -> Done | JSONResponse:
        """Returns the result of `do`, or that of the first time that this request was sent. Raises the errors of
        `service.begin` and of `do`."""
        if self.key is None:
            return do()
        sent = None if body is None else body.model_dump(mode="json")
        request = KeyedRequest(project, self.key, self.operation, sent)
        before = service.begin(session, request)
        if before is not None:
            operator_log.forget(session)
            return JSONResponse(before.body, before.status, headers={"Idempotency-Replayed": "true"})
        done = do()
        service.keep(session, request, Answer(self.status, done.model_dump(mode="json")))
        return done


def _keyed(
    request: Request,
    idempotency_key: Annotated[str | None, Header(alias=HEADER, description=ABOUT, max_length=LONGEST)] = None,
) -> Keyed:
    status = request.scope["route"].status_code or 200
    return Keyed(_key(idempotency_key), f"{request.method} {request.url.path}"[:500], status)


def _key(given: str | None) -> str | None:
    """Returns the key without the quotes that the draft requires; they are optional. Raises `Invalid`."""
    if given is None:
        return None
    key = given[1:-1] if len(given) >= 2 and given[0] == given[-1] == '"' else given
    if not key or not key.isascii() or not key.isprintable():
        raise Invalid(
            f"{HEADER}: give 1 to {LONGEST} printable ASCII characters, a UUID for example.",
            code="invalid_idempotency_key",
            faults=[Fault(HEADER, "is not a valid key")],
        )
    return key


Once = Annotated[Keyed, Depends(_keyed)]
