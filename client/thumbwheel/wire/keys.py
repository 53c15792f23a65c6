"""API keys: their scopes, the pages that may use them, and their limits."""

import re
from datetime import datetime
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, Field, model_validator

from thumbwheel.wire.projects import FeedbackLimits, PerMinute
from thumbwheel.wire.values import Body, Name, Slug
from thumbwheel.wire.webhook_endpoints import OverlapHours

Scope = Literal["feedback:write", "feedback:read", "runs:read", "runs:write", "releases:write", "gateway:use", "admin"]

#: The scopes of a browser key, which every visitor of a page can read.
BROWSER_SCOPES: list[Scope] = ["feedback:write"]

_ORIGIN = re.compile(r"(?P<scheme>https?)://(?P<any>\*\.)?(?P<host>[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::(?P<port>\d{1,5}))?")
_DEFAULT_PORTS = {"http": "80", "https": "443"}


def origin_as_sent(text: str) -> str:
    """Returns the origin as browsers send it. Raises ValueError for any other text."""
    match = _ORIGIN.fullmatch(text.lower().removesuffix("/"))
    if match is None:
        raise ValueError("is no origin: write it as https://app.example.com, or https://*.example.com for subdomains")
    scheme, anything, host, port = match.group("scheme", "any", "host", "port")
    if anything and "." not in host:
        raise ValueError("covers a whole top-level domain: name at least https://*.example.com")
    shown_port = "" if port is None or port == _DEFAULT_PORTS[scheme] else f":{int(port)}"
    return f"{scheme}://{anything or ''}{host}{shown_port}"


Origin = Annotated[
    str,
    Field(max_length=255, description="scheme, host and port; `https://*.example.com` covers all subdomains"),
    AfterValidator(origin_as_sent),
]


class KeyLimits(FeedbackLimits):
    """The number of events that a key may send within a minute; unset: any number."""

    address_per_minute: PerMinute = Field(None, description="of one client address, or one /64 network of IPv6")


#: The limits of a browser key that names none.
BROWSER_LIMITS = KeyLimits(actor_per_minute=30, address_per_minute=120)


class NewKey(Body):
    name: Name = Field(description="what it is for")
    scopes: Annotated[list[Scope], Field(min_length=1)]
    project: Slug | None = Field(None, description="the only project it opens; unset: all of them")
    expires_at: AwareDatetime | None = None
    origins: list[Origin] = Field(
        [],
        max_length=50,
        description="makes it a browser key: pages of these origins may send single events with it, and it opens "
        "nothing else; it needs a project and the scope feedback:write alone",
    )
    limits: KeyLimits | None = Field(
        None,
        description=f"a browser key has {BROWSER_LIMITS.actor_per_minute} events a minute of an actor and "
        f"{BROWSER_LIMITS.address_per_minute} of an address unless this names them; null means any number",
    )

    def limits_to_store(self) -> dict[str, int]:
        """Returns the limits of the new key that are numbers, with those that a browser key has by itself."""
        usual = BROWSER_LIMITS.model_dump() if self.origins else {}
        given = self.limits.model_dump(exclude_unset=True) if self.limits is not None else {}
        return {name: quota for name, quota in {**usual, **given}.items() if quota is not None}

    @model_validator(mode="after")
    def _harmless_in_a_browser(self) -> Self:
        if self.origins and (self.project is None or self.scopes != BROWSER_SCOPES):
            raise ValueError("a key with origins is public: give it a project, and the scope feedback:write alone")
        return self


class KeyChange(Body):
    """A merge patch (RFC 7396): limits that are left out stay as they are, and null means any number."""

    limits: KeyLimits


class Key(BaseModel):
    id: UUID
    name: str
    prefix: str = Field(
        description="the first characters of the key, to identify it; the rest is stored only as a hash"
    )
    scopes: list[Scope]
    project: str | None
    origins: list[str] = Field(description="of the pages that may use it; empty: it is no browser key")
    limits: KeyLimits
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None = Field(description="to within a minute; null: never")
    previous_secret_until: datetime | None = Field(description="until then, the secret before is valid too")


class CreatedKey(Key):
    secret: str = Field(description="the key itself: shown this one time")


class KeyRotation(Body):
    """Replace the secret of a key."""

    overlap_hours: OverlapHours = 24
