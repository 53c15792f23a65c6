"""The feedback log over HTTP."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import BaseModel
from thumbwheel import wire

from app.feedback import examples, service
from app.feedback.ingest.bodies import MAX_BATCH
from app.feedback.ingest.fast_path import EVENT_PATH
from app.feedback.ingest.kinds import COMPLETIONS, EVENTS
from app.feedback.ingest.receiver import Receiver
from app.pages import Page
from app.projects.project_of_request import Scoped, scoped
from app.web.problems import problems
from app.web.session import Transaction

router = APIRouter(tags=["feedback"])

Reader = Annotated[Scoped, Depends(scoped("feedback:read"))]
BATCH_PATH = "/v1/feedback/batch"
COMPLETIONS_PATH = "/v1/completions/"
COMPLETION_BATCH_PATH = "/v1/completions/batch"
#: Models of the bodies that the receiver reads itself: FastAPI would not add their schemas to the document.
MODELS: tuple[type[BaseModel], ...] = (wire.Event, wire.Completion, wire.IdentifiedCompletion)

_EVENT = {"$ref": "#/components/schemas/Event"}


def _receiver(request: Request) -> Receiver:
    receiver: Receiver = request.app.state.receiver
    return receiver


def _batch(name: str, item: dict[str, Any]) -> dict[str, Any]:
    """Returns the schema of a batch: an array of items, or an object with it under `name`."""
    array = {"type": "array", "items": item, "maxItems": MAX_BATCH}
    wrapped = {"type": "object", "properties": {name: array}, "required": [name], "additionalProperties": False}
    return {"anyOf": [array, wrapped]}


def _body(schema: dict[str, Any], shown: dict[str, Any], **other: Any) -> dict[str, Any]:
    """Returns the parts of an operation's description that FastAPI cannot derive, since the receiver reads the body."""
    return {
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": schema, "examples": shown}, **other},
        },
        "parameters": [
            {
                "name": "project",
                "in": "query",
                "required": False,
                "description": "the project; optional if the key opens only one",
                "schema": {"type": "string"},
            }
        ],
        "security": [{"key": []}],
    }


@router.post(
    EVENT_PATH,
    operation_id="record_feedback",
    summary="Record one event",
    status_code=201,
    response_model=wire.EventReceipt,
    responses={
        200: {"model": wire.EventReceipt, "description": "A replay: it was stored before"},
        **problems(404, 409, 413, 415, 429),
    },
    openapi_extra=_body(_EVENT, examples.EVENTS),
)
async def record_feedback() -> Response:
    """The answer comes after the commit. A retry with the same event id and body stores nothing twice."""
    raise NotImplementedError("this function only documents the operation: app.feedback.ingest.fast_path answers it")


@router.post(
    BATCH_PATH,
    operation_id="record_feedback_batch",
    summary="Record many events",
    response_model=wire.BatchReceipt,
    responses={
        207: {"model": wire.BatchReceipt, "description": "Some items were refused"},
        **problems(404, 409, 413, 415, 429),
    },
    openapi_extra=_body(
        _batch("events", _EVENT),
        examples.BATCHES,
        **{"application/x-ndjson": {"schema": {"type": "string", "description": "an event a line"}}},
    ),
)
async def record_feedback_batch(request: Request) -> Response:
    """Takes up to 5,000 events or 16 MiB, as an array or as JSON lines, optionally compressed with gzip. Stores the
    valid items and reports the faults of each of the others."""
    return await _receiver(request).batch(request, EVENTS)


@router.get(
    "/v1/feedback",
    operation_id="list_feedback",
    summary="List events",
    response_model=Page[wire.StoredEvent],
    responses=problems(404),
)
def list_feedback(
    session: Transaction,
    at: Reader,
    completion_id: Annotated[wire.Name | None, Query()] = None,
    actor: Annotated[wire.Name | None, Query()] = None,
    cursor: str | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> Page[wire.StoredEvent]:
    """The newest first."""
    return service.page(session, at.project, cursor=cursor, limit=limit, completion_id=completion_id, actor=actor)


@router.post(
    COMPLETION_BATCH_PATH,
    operation_id="register_completions",
    summary="Register many completions",
    response_model=wire.CompletionBatchReceipt,
    responses={
        207: {"model": wire.CompletionBatchReceipt, "description": "Some items were refused"},
        **problems(404, 409, 413, 415, 429),
    },
    openapi_extra=_body(
        _batch("completions", {"$ref": "#/components/schemas/IdentifiedCompletion"}),
        examples.COMPLETION_BATCHES,
        **{"application/x-ndjson": {"schema": {"type": "string", "description": "a completion a line"}}},
    ),
)
async def register_completions(request: Request) -> Response:
    """Takes up to 5,000 completions or 16 MiB, as an array or as JSON lines, optionally compressed with gzip. Stores
    the valid items and reports the faults of each of the others."""
    return await _receiver(request).batch(request, COMPLETIONS)


@router.put(
    "/v1/completions/{completion_id:path}",
    operation_id="register_completion",
    summary="Register a completion",
    status_code=201,
    response_model=wire.CompletionReceipt,
    responses={
        200: {"model": wire.CompletionReceipt, "description": "A replay: it was registered before"},
        **problems(404, 409, 413, 415, 429),
    },
    openapi_extra=_body({"$ref": "#/components/schemas/Completion"}, examples.COMPLETIONS),
)
async def register_completion(request: Request, completion_id: Annotated[wire.Name, Path()]) -> Response:
    """Stores a prompt and its completion. Events may refer to it by its id alone, whether they come before or after it.
    A registered completion is never changed."""
    return await _receiver(request).completion(request, completion_id)


@router.get(
    "/v1/completions/{completion_id:path}",
    operation_id="get_completion",
    summary="Read a registered completion",
    response_model=wire.StoredCompletion,
    responses=problems(404),
)
def get_completion(
    session: Transaction, at: Reader, completion_id: Annotated[wire.Name, Path()]
) -> wire.StoredCompletion:
    """Returns the completion as it was registered."""
    return service.completion(session, at.project, completion_id)
