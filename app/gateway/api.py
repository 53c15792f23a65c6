"""The operations of the gateway in the OpenAPI document; `app.gateway.fast_path` answers them."""

from typing import Any, Literal, NoReturn

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from app.gateway.gateway import FIGURES_PATH, MODELS_PATH
from app.gateway.requests import CHAT_PATH, TEXT_PATH
from app.web.problems import TITLE

router = APIRouter(tags=["gateway"])


class OpenAIErrorBody(BaseModel):
    message: str = Field(description="what happened and the remedy, in a sentence")
    type: str
    code: str | None
    param: str | None = Field(description="the field that is wrong")


class OpenAIErrorDocument(BaseModel):
    """An error in OpenAI's shape."""

    error: OpenAIErrorBody


class _OpenAIBody(BaseModel):
    """Fields that are not named here go to the server that serves the model."""

    model_config = ConfigDict(extra="allow")

    model: str = Field(description="the project")
    stream: bool | None = Field(None, description="true: the answer comes as server-sent events")
    n: int | None = Field(None, ge=1, le=128)
    logprobs: Any = Field(None, description="asked for in any case, and shown if it is asked for here")
    user: str | None = Field(
        None, description="the actor, for the assignment to a canary, unless a header or safety_identifier names it"
    )
    safety_identifier: str | None = Field(None, description="the actor, unless the header X-Thumbwheel-Actor names it")
    metadata: dict[str, Any] | None = Field(None, description="stored with the completion")


class ChatCompletionBody(_OpenAIBody):
    messages: list[dict[str, Any]]


class TextCompletionBody(_OpenAIBody):
    prompt: Any


class GatewayModel(BaseModel):
    id: str = Field(description="the project")
    object: Literal["model"]
    created: int
    owned_by: str


class GatewayModelList(BaseModel):
    object: Literal["list"]
    data: list[GatewayModel]


class GatewayProject(BaseModel):
    registered: int
    unregistered: dict[str, int] = Field(description="completions that were answered and not registered, by reason")
    live_targets: list[str] = Field([], description="targets that serve the live checkpoint")
    canary_targets: list[str] = Field([], description="targets that serve the canary's checkpoint")
    targets_with_another_checkpoint: list[str] = Field(
        [], description="targets that do not serve the live checkpoint yet, and answer until it is served somewhere"
    )
    targets_without_key: list[str] = Field([], description="targets whose key no variable of this process holds")
    resting: dict[str, str] = Field({}, description="targets that failed a moment ago, each with the reason")


class GatewayFigures(BaseModel):
    """The figures of one process of the gateway since its start."""

    postgres: Literal["ok", "away"]
    under_way: int
    waiting: int = Field(description="completions that wait for their registration")
    waiting_bytes: int
    registered: int
    unregistered: int
    projects: dict[str, GatewayProject]


def _errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    titles = {**TITLE, 429: "Too many requests", 502: "Bad gateway"}
    return {
        status: {"model": OpenAIErrorDocument, "description": titles[status]}
        for status in sorted({*statuses, 400, 401, 403, 404, 503})
    }


def _header(name: str, description: str) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": False, "description": description, "schema": {"type": "string"}}


def _described(body: type[BaseModel] | None = None) -> dict[str, Any]:
    """Returns the parts of an operation's description that FastAPI cannot derive, since the gateway reads requests."""
    described: dict[str, Any] = {"security": [{"key": []}]}
    if body is not None:
        schema = {"$ref": f"#/components/schemas/{body.__name__}"}
        described |= {
            "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
            "parameters": [
                _header("X-Thumbwheel-Actor", "the user who asks, for the assignment to a canary; not stored"),
                _header("X-Thumbwheel-Conversation", "the conversation that the completion belongs to"),
                _header("X-Thumbwheel-Completion-Id", "your own id of the completion, in place of a new one"),
            ],
        }
    return described


#: Models of the bodies that the gateway reads itself: FastAPI would not add their schemas to the document.
MODELS: tuple[type[BaseModel], ...] = (ChatCompletionBody, TextCompletionBody)
_ANSWER: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The answer of the model in OpenAI's shape; its `id` is the completion id",
        "content": {"application/json": {"schema": {"type": "object"}}, "text/event-stream": {}},
        "headers": {
            name: {"description": description, "schema": {"type": "string"}}
            for name, description in {
                "X-Thumbwheel-Completion-Id": "the id of the answer, under which it is registered",
                "X-Thumbwheel-Checkpoint": "the checkpoint that wrote it",
                "X-Thumbwheel-Release": "the number of the release in force that the checkpoint belongs to",
            }.items()
        },
    }
}


@router.post(
    CHAT_PATH, operation_id="create_chat_completion", summary="Chat with a model",
    responses={**_ANSWER, **_errors(405, 409, 413, 429, 502)}, openapi_extra=_described(ChatCompletionBody),
)  # fmt: skip
async def create_chat_completion() -> None:
    """Passes the request to a target of the actor's release, and registers what is written under the answer's `id`."""
    _documents()


@router.post(
    TEXT_PATH, operation_id="create_text_completion", summary="Complete a text",
    responses={**_ANSWER, **_errors(405, 409, 413, 429, 502)}, openapi_extra=_described(TextCompletionBody),
)  # fmt: skip
async def create_text_completion() -> None:
    """Passes the request to a target of the actor's release, and registers what is written under the answer's `id`."""
    _documents()


@router.get(
    MODELS_PATH, operation_id="list_models", summary="List the models of a key", response_model=GatewayModelList,
    responses=_errors(), openapi_extra=_described(),
)  # fmt: skip
async def list_models() -> None:
    """Lists the projects that the key opens: each is a model."""
    _documents()


@router.get(
    FIGURES_PATH, operation_id="gateway_figures", summary="Show what the gateway does", response_model=GatewayFigures,
    responses=_errors(), openapi_extra=_described(),
)  # fmt: skip
async def gateway_figures() -> None:
    """Shows registered, waiting and unregistered completions of this process, and the targets of each project."""
    _documents()


def _documents() -> NoReturn:
    raise NotImplementedError("this function only documents the operation: app.gateway.fast_path answers it")
