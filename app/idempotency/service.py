"""Performs a request with an Idempotency-Key only once (draft-ietf-httpapi-idempotency-key-header).

The answer is stored in the transaction of the request itself. A refused request stores no answer and may be sent again.
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
class KeyedRequest:
    """A request with a key. `operation`: method and path; `body`: parsed JSON."""

    project: str
    key: str
    operation: str
    body: Mapping[str, Any] | None

    @property
    def body_sha256(self) -> str:
        return hashlib.sha256(json.dumps(self.body, sort_keys=True).encode()).hexdigest()


def begin(session: Session, request: KeyedRequest) -> Answer | None:
    """Returns the earlier answer to the request, or None if this transaction has to perform it.

    Raises `Conflict` while another transaction performs it, `Invalid` if the key was used for another request.
    """
    if not store.try_to_begin(session, f"idempotency/{request.project}/{request.key}"):
        raise Conflict(
            "A request with this Idempotency-Key is in progress: send it again in a moment.",
            code="request_in_flight",
        )
    stored = store.find(session, request.project, request.key)
    if stored is None:
        return None
    if (stored.operation, stored.body_sha256) != (request.operation, request.body_sha256):
        other = "with another body" if stored.operation == request.operation else f"for {stored.operation}"
        raise Invalid(
            f"This Idempotency-Key was used {other}: send a new key with a new request.",
            code="idempotency_key_reused",
            faults=[Fault(HEADER, "was used for another request")],
        )
    return Answer(stored.status, stored.response)


def keep(session: Session, request: KeyedRequest, answer: Answer) -> None:
    """Stores the answer for further requests with this key, if this transaction commits."""
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
    """Deletes keys that are older than `KEPT`: a later request with such a key is performed again."""
    store.forget(session, now() - KEPT)
