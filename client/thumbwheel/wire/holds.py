"""Legal holds: feedback that nothing deletes while a hold is in force."""

from datetime import datetime
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from thumbwheel.wire.values import Body, Name, meant, storable

HoldKind = Literal["project", "actor", "completion"]
Reason = Annotated[str, Field(max_length=500), AfterValidator(storable), AfterValidator(meant)]


class NewHold(Body):
    """A hold on an actor, on a completion, or, without either, on the whole project."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"actor": "user-77", "reason": "case 4 O 12/26, preserved for the court"}]}
    )

    actor: Name | None = Field(
        None, description="holds the actor's events, and all feedback on completions that the actor judged"
    )
    completion_id: Name | None = Field(None, description="holds all feedback on this completion, and its text")
    reason: Reason = Field(description="it outlives erasures: name the case, no person")
    until: AwareDatetime | None = Field(None, description="when it ends by itself; null: until it is released")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if self.actor is not None and self.completion_id is not None:
            raise ValueError("give actor or completion_id, not both: a hold has one subject")
        return self


class HoldRelease(Body):
    reason: Reason


class LegalHold(BaseModel):
    """A legal hold. Only its release is ever added to it, and an erasure takes the actor's id out."""

    id: UUID
    project: str
    kind: HoldKind
    subject: str | None = Field(description="the actor or the completion; null: the project, or an erased actor")
    reason: str
    placed_at: datetime
    placed_by: str = Field(description="the key, which may release it")
    until: datetime | None
    in_force: bool
    released_at: datetime | None
    released_by: str | None
    release_reason: str | None


class ErasureHold(BaseModel):
    """A hold that an erasure waited for."""

    hold_id: UUID
    since: datetime = Field(description="when the erasure met it first")
    until: datetime | None = Field(description="when the erasure went on; null: it still waits")
