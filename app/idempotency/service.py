"""A request with an Idempotency-Key is done once, however often it is sent (draft-ietf-httpapi-idempotency-key-header).

The answer is kept in the transaction of what the request did; what was refused keeps nothing and may be sent again.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy.orm import Session

from app.database import now
from app.errors import Conflict, Fault, Invalid
from app.idempotency import store

KEPT = timedelta(days=7)
HEADER = "Idempotency-Key"


@dataclass(frozen=True)
class Answer:
    status: int
    body: dict[str, Any]


@dataclass(frozen=True)
class Request:
    """`operation`: method and path; `body`: as JSON has it."""

    project: str
    key: str
    operation: str
    body: Mapping[str, Any] | None

    @property
    def body_sha256(self) -> str:
        return hashlib.sha256(json.dumps(self.body, sort_keys=True).encode()).hexdigest()


def begin(session: Session, request: Request) -> Answer | None:
    """What the request was answered before; None where it is to be done now, by this transaction alone.

    Raises `Conflict` while it is being done, `Invalid` where the key was that of another request.
    """
    if not store.try_to_begin(session, f"idempotency/{request.project}/{request.key}"):
        raise Conflict(
            "A request with this Idempotency-Key is being worked on: ask again in a moment.",
            code="request_in_flight",
        )
    found = store.find(session, request.project, request.key)
    if found is None:
        return None
    if (found.operation, found.body_sha256) != (request.operation, request.body_sha256):
        other = "with another body" if found.operation == request.operation else f"for {found.operation}"
        raise Invalid(
            f"This Idempotency-Key was used {other}: send a new key with a new request.",
            code="idempotency_key_reused",
            faults=[Fault(HEADER, "was used for another request")],
        )
    return Answer(found.status, found.response)


def keep(session: Session, request: Request, answer: Answer) -> None:
    """Have the same request answered so from now on, if this transaction commits."""
    store.keep(
        session,
        {
            "project_id": request.project,
            "key": request.key,
            "operation": request.operation,
            "body_sha256": request.body_sha256,
            "status": answer.status,
            "response": answer.body,
        },
    )


def forget(session: Session) -> None:
    """Keys are kept for `KEPT`: whoever asks again later asks anew."""
    store.forget(session, now() - KEPT)
