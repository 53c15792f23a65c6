"""Actors whose votes wait for a decision, and the decisions."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from thumbwheel.wire.policy_values import Label
from thumbwheel.wire.values import Body, Name, meant, storable

#: *quarantined*: found, not decided, does not count; *confirmed*: does not count, found or not; *released*: counts.
QuarantineState = Literal["quarantined", "confirmed", "released"]
QuarantineRule = Literal["burst", "one_way", "ring"]


class QuarantineFinding(BaseModel):
    """The finding of one rule, with the figures behind it; null if the rule has no such figure."""

    rule: QuarantineRule
    said: str = Field(description="the figures as a sentence")
    votes: int = Field(description="within `seconds` for a burst, else all of the actor's")
    seconds: float | None = None
    label: Label | None = Field(None, description="the side that nearly all votes are on")
    share: float | None = Field(None, description="of the actor's votes on that side")
    others_share: float | None = Field(None, description="of all other actors' votes on that side")
    together: int | None = Field(None, description="completions that the actor and the partner most alike both judged")
    overlap: float | None = Field(None, description="of all that either of the two judged")
    agreement: float | None = Field(None, description="of those that both judged")
    ring_size: int | None = Field(None, description="actors in the ring")
    ring: list[str] = Field([], description="the first of the others in it")
    examples: list[str] = Field(description="completion ids")


class NewQuarantineDecision(Body):
    """Whether an actor's votes count from now on; a later decision takes it back."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"actor": "user-77", "decision": "released", "reason": "our own annotators, asked to be quick"}
            ]
        }
    )

    actor: Name
    decision: Literal["released", "confirmed"]
    reason: Annotated[str, Field(max_length=500), AfterValidator(storable), AfterValidator(meant)]


class QuarantineDecision(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    number: int = Field(description="1, 2, 3 … within the project")
    actor: str
    decision: Literal["released", "confirmed"]
    reason: str
    by: str
    at: datetime


class QuarantinedActor(BaseModel):
    actor: str
    state: QuarantineState
    findings: list[QuarantineFinding] = Field(description="as the adopted policy finds them in the log now")
    decision: QuarantineDecision | None = Field(description="the newest, which counts")
