"""The ledger of releases: what is live, what is tried on a share of the actors, and which actor gets which."""

from datetime import datetime
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from thumbwheel.wire.checkpoints import Checkpoint
from thumbwheel.wire.release_approval import RollbackDecision
from thumbwheel.wire.values import Body, Name, storable

Share = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]


class NewRelease(Body):
    """Ship `checkpoint_id` to all actors or to a share of them, or roll back."""

    checkpoint_id: UUID | None = None
    share: Share | None = Field(
        None, description="a canary: the share of actors that get the checkpoint, while the live release stays"
    )
    rollback: bool = Field(
        default=False,
        description="end the canary if there is one, else return to what was live before the current release",
    )
    reason: Annotated[str, Field(max_length=500), AfterValidator(storable)] = ""
    override_reason: Annotated[str, Field(min_length=10, max_length=500), AfterValidator(storable)] | None = Field(
        None, description="ship although the gates did not pass; recorded for good"
    )
    override_scope: list[Name] | None = Field(
        None,
        max_length=200,
        description="the rules that are overridden: those that did not pass; unset: all of them; it must cover all",
    )

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if (self.checkpoint_id is None) != self.rollback:
            raise ValueError("give either checkpoint_id or rollback: true")
        if self.rollback and self.share is not None:
            raise ValueError("a rollback is for all actors: leave share out")
        if self.override_scope is not None and self.override_reason is None:
            raise ValueError("override_scope needs an override_reason")
        return self


class NewBaseModel(Body):
    """Begin a new line of ancestry: another base model, which is live at once."""

    base_model: Name = Field(description="absolute path of the folder of the new base model, as the workers see it")
    reason: Annotated[str, Field(max_length=300), AfterValidator(storable)] = ""


class Release(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: UUID
    project: str
    number: int
    checkpoint_id: UUID
    action: Literal["start", "ship", "rollback", "canary", "end_canary"] = Field(
        description="start: a base model, with which the ledger or a new line of ancestry begins; canary, end_canary: "
        "the live release stays"
    )
    share: float | None = Field(None, description="of actors that get the canary")
    reason: str
    override_reason: str | None
    override_scope: list[str] | None = Field(None, description="the rules of the gates that were overridden")
    by: str
    decision: RollbackDecision | None = Field(None, description="of the rule, if it took the release back")
    created_at: datetime


class CurrentRelease(Release):
    """The live release, and the canary beside it."""

    checkpoint: Checkpoint
    base_model: str = Field(description="folder of the base model under an adapter")
    canary: Release | None = Field(None, description="what a share of the actors gets instead")


class Assignment(BaseModel):
    """The release that an actor gets."""

    project: str
    actor: str
    canary: bool
    checkpoint_id: UUID
    release_id: UUID
    release_number: int
