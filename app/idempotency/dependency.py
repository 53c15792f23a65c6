"""`Once`: what an operation of the API does under an Idempotency-Key."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, TypeVar

from fastapi import Depends, Header
from fastapi import Request as HttpRequest
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from sqlalchemy.orm import Session

from app.errors import Fault, Invalid
from app.idempotency import service
from app.idempotency.service import HEADER, Answer, Request

Done = TypeVar("Done", bound=BaseModel)

LONGEST = 255
ABOUT = (
    "do this once, however often it is sent: the same key and body get the first answer again, with "
    f"`Idempotency-Replayed: true`, for {service.KEPT.days} days"
)


@dataclass(frozen=True)
class Asked:
    """How a request was sent. `key` is None where it has none: then it is simply done."""

    key: str | None
    operation: str
    status: int

    def once(
        self, session: Session, project: str, body: BaseModel | None, do: Callable[[], Done]
    ) -> Done | JSONResponse:
        """What `do` returns, or what it returned when this request was done. Raises as `service.begin`, and as `do`."""
        if self.key is None:
            return do()
        sent = None if body is None else body.model_dump(mode="json")
        request = Request(project, self.key, self.operation, sent)
        before = service.begin(session, request)
        if before is not None:
            return JSONResponse(before.body, before.status, headers={"Idempotency-Replayed": "true"})
        done = do()
        service.keep(session, request, Answer(self.status, done.model_dump(mode="json")))
        return done


def _asked(
    request: HttpRequest,
    idempotency_key: Annotated[str | None, Header(alias=HEADER, description=ABOUT, max_length=LONGEST)] = None,
) -> Asked:
    status = request.scope["route"].status_code or 200
    return Asked(_key(idempotency_key), f"{request.method} {request.url.path}"[:500], status)


def _key(given: str | None) -> str | None:
    """The draft has it in quotes; without them it is taken, too. Raises `Invalid`."""
    if given is None:
        return None
    key = given[1:-1] if len(given) >= 2 and given[0] == given[-1] == '"' else given
    if not key or not key.isascii() or not key.isprintable():
        raise Invalid(
            f"{HEADER}: give 1 to {LONGEST} printable ASCII characters, a UUID for example.",
            code="invalid_idempotency_key",
            faults=[Fault(HEADER, "is no key")],
        )
    return key


Once = Annotated[Asked, Depends(_asked)]
