"""Vote links: URLs by which one person votes once on one completion, without a key."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from thumbwheel.wire.values import Body, Name

#: The longest time for which a link, or a replaced secret of links, is valid.
MOST_HOURS = 24 * 366


class NewVoteLink(Body):
    """Create a link for one actor and one completion."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"completion_id": "msg-1042", "actor": "user-77"}]})

    completion_id: Name = Field(description="your own id of the model output that the vote is about")
    actor: Name = Field(description="opaque id of the person who gets the link; it can be read from the link")
    valid_hours: Annotated[float, Field(gt=0, le=MOST_HOURS)] = Field(168, description="hours until the link expires")


class VoteLink(BaseModel):
    id: UUID
    url: str = Field(description="anybody who has it may vote: send it to the actor alone")
    completion_id: str
    actor: str
    event_id: str = Field(description="of the event that a vote is stored as")
    expires_at: datetime


class RevokedVoteLink(BaseModel):
    id: UUID
    revoked_at: datetime


class VoteLinkRotation(Body):
    """Replace the secret that signs the links of a project."""

    overlap_hours: Annotated[float, Field(ge=0, le=MOST_HOURS)] = Field(
        168, description="hours for which links by the secrets before stay valid; 0 ends all of them at once"
    )


class VoteLinkSecret(BaseModel):
    """The secret that signs new links, without itself."""

    number: int = Field(description="1, 2, 3 … within the project")
    created_at: datetime
