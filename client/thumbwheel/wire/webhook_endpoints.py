"""Webhook endpoints, and the log of deliveries to them."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from thumbwheel.wire.values import Body, meant, storable

#: A type, or all types of a group.
WebhookPattern = Literal[
    "*",
    "run.*", "run.requested", "run.started", "run.moved", "run.paused", "run.resumed", "run.held_up", "run.lost",
    "run.succeeded", "run.failed", "run.cancelled",
    "checkpoint.*", "checkpoint.registered",
    "gate.*", "gate.passed", "gate.refused", "gate.undecided",
    "release.*", "release.shipped", "release.rolled_back", "release.started_over", "release.canary",
    "release.canary_ended", "approval.*", "approval.fell",
    "erasure.*", "erasure.requested", "erasure.completed", "erasure.failed",
    "quarantine.*", "quarantine.found", "quarantine.confirmed", "quarantine.released",
]  # fmt: skip
#: *standard*: the payload itself; *slack*: a message for an incoming webhook of Slack.
WebhookFormat = Literal["standard", "slack"]
#: *failed*: given up; a replay sends it again.
DeliveryState = Literal["pending", "delivered", "failed"]

WebhookUrl = Annotated[
    str,
    Field(
        min_length=1,
        max_length=2000,
        description="https, without user name or password; http and private addresses only if the server allows them",
    ),
    AfterValidator(storable),
    AfterValidator(meant),
]
Description = Annotated[str, Field(max_length=200), AfterValidator(storable)]
Patterns = Annotated[
    list[WebhookPattern], Field(min_length=1, max_length=50, description="types, or groups of them such as `run.*`")
]
OverlapHours = Annotated[
    float,
    Field(ge=0, le=168, description="hours for which the secret before stays valid; 0 if it has leaked"),
]


class NewWebhookEndpoint(Body):
    """Send the events of a project to a URL."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"url": "https://ops.example.com/thumbwheel", "kinds": ["run.failed", "release.*"]}]
        }
    )

    url: WebhookUrl
    kinds: Patterns = Field(["*"])
    format: WebhookFormat = "standard"
    description: Description = ""


class WebhookEndpointChange(Body):
    """Change the given fields; the others stay."""

    url: WebhookUrl | None = None
    kinds: Patterns | None = None
    format: WebhookFormat | None = None
    description: Description | None = None
    enabled: bool | None = Field(None, description="false stops the endpoint; true resumes a disabled one")


class WebhookEndpoint(BaseModel):
    id: UUID
    project: str
    url: str
    kinds: list[WebhookPattern]
    format: WebhookFormat
    description: str
    enabled: bool
    disabled_at: datetime | None
    disabled_reason: str | None = Field(description="why nothing is sent to it")
    created_at: datetime
    created_by: str
    last_attempt_at: datetime | None
    last_success_at: datetime | None
    previous_secret_until: datetime | None = Field(description="until then, messages also carry the earlier signature")


class WebhookEndpointWithSecret(WebhookEndpoint):
    secret: str = Field(description="`whsec_…`, for the verification of signatures: shown this one time")


class SecretRotation(Body):
    """Replace an endpoint's secret."""

    overlap_hours: OverlapHours = 24


class WebhookAttempt(BaseModel):
    """One request to an endpoint."""

    model_config = ConfigDict(from_attributes=True)

    number: int = Field(description="1, 2, 3 … within the delivery")
    at: datetime
    seconds: float | None = Field(description="null while it is under way, or if its worker was lost")
    status: int | None = Field(description="of the answer; null: there was none")
    trouble: str | None = Field(description="why it did not succeed")
    answer: str | None = Field(description="the first kilobyte of the answer's body")


class WebhookDelivery(BaseModel):
    """One event on its way to one endpoint."""

    id: UUID
    endpoint_id: UUID
    webhook_id: UUID = Field(description="of the event, sent as `webhook-id` in every attempt")
    type: str
    payload: dict[str, Any]
    state: DeliveryState
    reason: str | None = Field(description="why it was given up")
    created_at: datetime
    next_attempt_at: datetime | None
    finished_at: datetime | None
    attempts: list[WebhookAttempt] = Field(description="oldest first")


class MissedReplay(Body):
    """Send the events that an endpoint has missed."""

    since: AwareDatetime = Field(description="events are kept for 30 days")


class ReplayReceipt(BaseModel):
    replayed: int = Field(description="events that are sent now, oldest first: 1,000 at most")
    complete: bool = Field(description="false: more were missed; replay again")
