"""Feedback: events about completions, and completions that are registered on their own."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, model_validator

from thumbwheel.wire.prompts import Answer, Message, Prompt
from thumbwheel.wire.signals import Preference, Signal
from thumbwheel.wire.values import Body, Metadata, Name, PastTime

#: Tokens of one completion.
MAX_TOKENS = 131_072
MAX_TOKEN_ID = 2**31 - 1
#: The first wrong value is named, not each of a hundred thousand.
ONE_A_TOKEN = Field(max_length=MAX_TOKENS, fail_fast=True)
_ERROR = "what is wrong with this item and what to do"
_POINTER = "JSON pointer into the item"
_DIFFERS = "of a conflict: JSON pointers to what differs from what is stored"
ANSWER = "what the model wrote: a text, or the assistant's message where it has tool_calls or reasoning"
CONVERSATION = (
    "your own id of the conversation that the completion belongs to, which is on one side of the split as a whole; "
    "unset: derived where one prompt begins with another"
)


class Event(Body):
    """One piece of feedback about one completion. `prompt` and `completion` may be left out where another event about
    the same completion id carries them, or the completion is registered: before or after, in any order."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "event_id": "vote-8f14e45f",
                    "completion_id": "msg-1042",
                    "actor": "user-77",
                    "prompt": "Where is my parcel?",
                    "completion": "It left our warehouse this morning and arrives tomorrow.",
                    "signal": {"kind": "thumbs", "value": "up"},
                }
            ]
        }
    )

    event_id: Name | None = Field(
        None, description="your id of this event; a retry with the same id stores nothing twice"
    )
    completion_id: Name = Field(description="your own id of the model output that this is about")
    actor: Name = Field(description="opaque id of the user who gave the feedback")
    signal: Signal
    prompt: Prompt | None = None
    completion: Answer | None = Field(None, description=ANSWER)
    checkpoint_id: UUID | None = Field(None, description="the checkpoint that produced the completion, where known")
    occurred_at: PastTime | None = Field(None, description="time of the user's action; unset: the time of receipt")
    supersedes: Name | None = Field(
        None, description="event_id of an earlier event of the same actor on this completion, which this event replaces"
    )
    conversation_id: Name | None = Field(None, description=CONVERSATION)
    metadata: Metadata = Field({}, description="your own data, stored with it")
    never_train: bool = Field(default=False, description="true: keep this event out of every snapshot")
    origin: Literal["import"] | None = Field(
        None,
        description="import: copied from elsewhere; without occurred_at its time is unknown",
    )

    @model_validator(mode="after")
    def _belongs_together(self) -> Self:
        if (self.prompt is None) != (self.completion is None):
            missing = "prompt" if self.prompt is None else "completion"
            raise ValueError(f"{missing} is missing: send prompt and completion together, or neither")
        _require_messages(self.prompt, self.completion)
        if self.supersedes is not None and self.supersedes == self.event_id:
            raise ValueError("supersedes is the event's own event_id: name the earlier event")
        if isinstance(self.signal, Preference):
            self._require_two_answers(self.signal)
        return self

    def _require_two_answers(self, preference: Preference) -> None:
        if preference.rejected is not None and self.completion is None:
            raise ValueError("a preference with signal.rejected needs prompt and completion (the preferred one) too")
        if preference.rejected is not None and preference.rejected == self.completion:
            raise ValueError("signal.rejected is the same text as completion: a preference needs two answers")
        if preference.rejected_completion_id == self.completion_id:
            raise ValueError("signal.rejected_completion_id is the preferred completion's own id: send another")


def _require_messages(prompt: Prompt | None, completion: Answer | None) -> None:
    if isinstance(completion, Message) and isinstance(prompt, str):
        raise ValueError("completion is a message and prompt is a text: send the prompt as messages, too")


class EventReceipt(BaseModel):
    event_id: str
    status: Literal["stored", "replayed"]


class BatchItem(BaseModel):
    index: int
    event_id: str | None = None
    status: Literal["stored", "replayed", "conflict", "invalid", "erased", "rate_limited"] = Field(
        description="erased: the actor, or the event, was erased and stays away; rate_limited: the actor has reached a "
        "limit"
    )
    retry_after_seconds: int | None = Field(None, description="when to send an item again that was over a limit")
    error: str | None = Field(None, description=_ERROR)
    pointer: str | None = Field(None, description=_POINTER)
    differs: list[str] | None = Field(None, description=_DIFFERS)


class BatchReceipt(BaseModel):
    stored: int
    replayed: int
    rejected: int
    items: list[BatchItem]


class StoredEvent(BaseModel):
    """An event as it was stored."""

    model_config = ConfigDict(from_attributes=True)

    event_id: str
    position: int = Field(description="place in the project's log: later is higher")
    received_at: datetime
    occurred_at: datetime = Field(description="the time of receipt if none was sent")
    completion_id: str
    actor: str
    signal: dict[str, Any]
    prompt: str | list[dict[str, Any]] | dict[str, Any] | None = Field(
        description="text, messages, or messages with tools, as it was sent"
    )
    completion: str | dict[str, Any] | None = Field(description="a text, or a message, as it was sent")
    checkpoint_id: UUID | None
    supersedes: str | None
    conversation_id: str | None = None
    metadata: dict[str, Any]
    never_train: bool = False
    origin: Literal["import"] | None = None


class Completion(Body):
    """A prompt and the completion of a model, for events that refer to it by its id alone."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "prompt": [{"role": "user", "content": "Where is my parcel?"}],
                    "completion": "It left our warehouse this morning and arrives tomorrow.",
                    "sampling": {"temperature": 0.7, "top_p": 0.95},
                }
            ]
        }
    )

    prompt: Prompt
    completion: Answer = Field(description=ANSWER)
    checkpoint_id: UUID | None = Field(None, description="the checkpoint that produced it, where known")
    conversation_id: Name | None = Field(None, description=CONVERSATION)
    sampling: Metadata = Field({}, description="how it was sampled: temperature, top_p, seed, …")
    token_ids: Annotated[list[Annotated[int, Field(ge=0, le=MAX_TOKEN_ID)]], ONE_A_TOKEN] | None = Field(
        None, description="the completion as the model's tokens"
    )
    log_probs: Annotated[list[Annotated[float, Field(le=0, allow_inf_nan=False)]], ONE_A_TOKEN] | None = Field(
        None, description="log-prob of each token when it was sampled, in nats"
    )
    metadata: Metadata = Field({}, description="your own data, stored with it")

    @model_validator(mode="after")
    def _one_log_prob_a_token(self) -> Self:
        _require_messages(self.prompt, self.completion)
        if self.log_probs is not None and (self.token_ids is None or len(self.token_ids) != len(self.log_probs)):
            raise ValueError("log_probs needs token_ids of the same length: send one log-prob a token")
        return self


class IdentifiedCompletion(Completion):
    """A completion with its id, as one of a batch."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "completion_id": "msg-1042",
                    "prompt": [{"role": "user", "content": "Where is my parcel?"}],
                    "completion": "It left our warehouse this morning and arrives tomorrow.",
                }
            ]
        }
    )

    completion_id: Name = Field(description="your own id of the model output, to which events refer")


class CompletionReceipt(BaseModel):
    completion_id: str
    status: Literal["stored", "replayed"]


class CompletionBatchItem(BaseModel):
    index: int
    completion_id: str | None = None
    status: Literal["stored", "replayed", "conflict", "invalid", "erased"] = Field(
        description="erased: the completion was erased, and its id stays taken"
    )
    error: str | None = Field(None, description=_ERROR)
    pointer: str | None = Field(None, description=_POINTER)
    differs: list[str] | None = Field(None, description=_DIFFERS)


class CompletionBatchReceipt(BaseModel):
    stored: int
    replayed: int
    rejected: int
    items: list[CompletionBatchItem]


class StoredCompletion(BaseModel):
    """A completion as it was registered."""

    model_config = ConfigDict(from_attributes=True)

    completion_id: str
    position: int = Field(description="place in the project's log: later is higher")
    received_at: datetime
    prompt: str | list[dict[str, Any]] | dict[str, Any]
    completion: str | dict[str, Any]
    checkpoint_id: UUID | None
    conversation_id: str | None = None
    sampling: dict[str, Any]
    token_ids: list[int] | None
    log_probs: list[float] | None
    metadata: dict[str, Any]
