"""The feedback log over HTTP."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Query, Response
from pydantic import BaseModel, Field, WithJsonSchema, model_validator
from thumbwheel import wire

from app.feedback import service
from app.projects.scoped import Scoped, scoped
from app.schema import Page
from app.web import Transaction, problems

MAX_BATCH = 5000

router = APIRouter(tags=["feedback"])

Writer = Annotated[Scoped, Depends(scoped("feedback:write"))]

_PROMPT = "Where is my parcel?"
_EXAMPLES = {
    "thumb": {
        "summary": "A thumb with everything that it is about",
        "value": {
            "event_id": "vote-8f14e45f",
            "completion_id": "msg-1042",
            "actor": "user-77",
            "prompt": _PROMPT,
            "completion": "It left our warehouse this morning and arrives tomorrow.",
            "signal": {"kind": "thumbs", "value": "up"},
        },
    },
    "late": {
        "summary": "A thumb that comes later, by completion id alone",
        "value": {
            "event_id": "vote-c9f0f895",
            "completion_id": "msg-1042",
            "actor": "user-78",
            "signal": {"kind": "thumbs", "value": "down"},
        },
    },
    "edit": {
        "summary": "The user rewrote the answer before sending it",
        "value": {
            "event_id": "edit-45c48cce",
            "completion_id": "msg-1043",
            "actor": "agent-4",
            "prompt": [{"role": "user", "content": _PROMPT}],
            "completion": "We refund you twice.",
            "signal": {"kind": "edit", "text": "It arrives tomorrow."},
        },
    },
    "preference": {
        "summary": "One answer preferred over another",
        "value": {
            "completion_id": "msg-1044-a",
            "actor": "user-79",
            "prompt": _PROMPT,
            "completion": "It arrives tomorrow.",
            "signal": {"kind": "preference", "rejected": "No idea.", "rejected_completion_id": "msg-1044-b"},
        },
    },
}


class Batch(BaseModel):
    """Up to 5,000 events; a bare JSON array of events is taken as well."""

    events: Annotated[
        list[Annotated[Any, WithJsonSchema({"$ref": "#/components/schemas/Event"})]], Field(max_length=MAX_BATCH)
    ]

    @model_validator(mode="before")
    @classmethod
    def _bare_array(cls, body: Any) -> Any:
        return {"events": body} if isinstance(body, list) else body


def _stored_or_replayed(receipt: wire.EventReceipt, response: Response) -> wire.EventReceipt:
    response.status_code = 201 if receipt.status == "stored" else 200
    return receipt


def _whole_or_mixed(receipt: wire.BatchReceipt, response: Response) -> wire.BatchReceipt:
    response.status_code = 207 if receipt.rejected else 200
    return receipt


@router.post(
    "/v1/feedback",
    operation_id="record_feedback",
    summary="Record one event",
    status_code=201,
    response_model=wire.EventReceipt,
    responses={
        200: {"model": wire.EventReceipt, "description": "A replay: it was stored before"},
        **problems(404, 409),
    },
)
def record_feedback(
    event: Annotated[wire.Event, Body(openapi_examples=_EXAMPLES)],
    session: Transaction,
    at: Writer,
    response: Response,
) -> wire.EventReceipt:
    """The answer comes after the commit. A retry with the same event id and body stores nothing twice."""
    return _stored_or_replayed(service.record(session, at.project, event), response)


@router.post(
    "/v1/feedback/batch",
    operation_id="record_feedback_batch",
    summary="Record many events",
    response_model=wire.BatchReceipt,
    responses={207: {"model": wire.BatchReceipt, "description": "Some items were refused"}, **problems(404)},
)
def record_feedback_batch(
    batch: Annotated[
        Batch,
        Body(
            openapi_examples={"two": {"value": {"events": [_EXAMPLES["thumb"]["value"], _EXAMPLES["edit"]["value"]]}}}
        ),
    ],
    session: Transaction,
    at: Writer,
    response: Response,
) -> wire.BatchReceipt:
    """Valid items are stored together; what is wrong with the others is said item by item."""
    return _whole_or_mixed(service.record_batch(session, at.project, batch.events), response)


@router.get(
    "/v1/feedback",
    operation_id="list_feedback",
    summary="List events",
    response_model=Page[wire.StoredEvent],
    responses=problems(404),
)
def list_feedback(
    session: Transaction,
    at: Annotated[Scoped, Depends(scoped("feedback:read"))],
    completion_id: Annotated[wire.Name | None, Query()] = None,
    actor: Annotated[wire.Name | None, Query()] = None,
    cursor: str | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> Page[wire.StoredEvent]:
    """The newest first."""
    return service.page(session, at.project, cursor=cursor, limit=limit, completion_id=completion_id, actor=actor)
