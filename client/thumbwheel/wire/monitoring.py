"""The time until feedback teaches the live model."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field


class LearnedRelease(BaseModel):
    """A release, and the age that the events had then of which it was the first to learn."""

    model_config = ConfigDict(from_attributes=True)

    release_number: int
    checkpoint_id: UUID
    released_at: datetime
    events: int
    p50_seconds: float | None = Field(description="half of these events were younger; null without events")
    p90_seconds: float | None


class WaitingEvents(BaseModel):
    """The events that no release has learnt from yet, as of `read_at`."""

    events: int
    p50_seconds: float | None = Field(description="half of these events are younger; null without events")
    oldest_seconds: float | None
    read_at: datetime


class ObjectiveReport(BaseModel):
    """The attainment of the objective over the events whose hours ended within the last days."""

    share: float
    hours: float
    days: int
    due: int = Field(description="events whose hours ended within these days")
    in_time: float | None = Field(description="the share of them that was live in time; null without events")
    burn: float | None = Field(
        description="late events divided by those that the objective allows: above 1 it is not kept"
    )


class TimeToLearn(BaseModel):
    project: str
    releases: list[LearnedRelease] = Field(description="newest first, those that were the first to learn from events")
    waiting: WaitingEvents | None = Field(description="null until the loop has counted them")
    objective: ObjectiveReport | None = Field(description="null if the project has none")
