"""API keys and their scopes."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, Field

from thumbwheel.wire.projects import Slug
from thumbwheel.wire.values import Body, Name

Scope = Literal["feedback:write", "feedback:read", "runs:read", "runs:write", "releases:write", "gateway:use", "admin"]


class NewKey(Body):
    name: Name = Field(description="what it is for")
    scopes: Annotated[list[Scope], Field(min_length=1)]
    project: Slug | None = Field(None, description="the only project it opens; unset: all of them")
    expires_at: AwareDatetime | None = None


class Key(BaseModel):
    id: UUID
    name: str
    prefix: str = Field(
        description="the first characters of the key, to identify it; the rest is stored only as a hash"
    )
    scopes: list[Scope]
    project: str | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


class CreatedKey(Key):
    secret: str = Field(description="the key itself: shown this one time")
