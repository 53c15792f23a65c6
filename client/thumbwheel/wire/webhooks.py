"""Payloads of webhooks: one model for each type, after Standard Webhooks (standardwebhooks.com)."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, Field, TypeAdapter

from thumbwheel.wire.webhook_data import (
    ApprovalWebhookData,
    CheckpointWebhookData,
    DecisionWebhookData,
    EndpointTestWebhookData,
    ErasureWebhookData,
    FindingsWebhookData,
    GateWebhookData,
    ReleaseWebhookData,
    RunWebhookData,
)


class _Webhook(BaseModel):
    timestamp: datetime = Field(description="when it happened, not when it was sent")


class _RunWebhook(_Webhook):
    data: RunWebhookData


class RunRequestedWebhook(_RunWebhook):
    """A run was requested. With `waiting`, it is queued behind the active run."""

    type: Literal["run.requested"] = "run.requested"


class RunStartedWebhook(_RunWebhook):
    """A worker claimed a queued run."""

    type: Literal["run.started"] = "run.started"


class RunMovedWebhook(_RunWebhook):
    """A run advanced to another state, for example from referencing to training."""

    type: Literal["run.moved"] = "run.moved"


class RunPausedWebhook(_RunWebhook):
    """An operator paused a run."""

    type: Literal["run.paused"] = "run.paused"


class RunResumedWebhook(_RunWebhook):
    """An operator resumed a run."""

    type: Literal["run.resumed"] = "run.resumed"


class RunHeldUpWebhook(_RunWebhook):
    """A full disk holds a run up. It is tried again by itself."""

    type: Literal["run.held_up"] = "run.held_up"


class RunLostWebhook(_RunWebhook):
    """An attempt of a run was lost: its worker fell silent, or its trainer died. Another attempt follows."""

    type: Literal["run.lost"] = "run.lost"


class RunSucceededWebhook(_RunWebhook):
    """A run registered a checkpoint."""

    type: Literal["run.succeeded"] = "run.succeeded"


class RunFailedWebhook(_RunWebhook):
    """A run failed, for the reason given."""

    type: Literal["run.failed"] = "run.failed"


class RunCancelledWebhook(_RunWebhook):
    """A run was cancelled."""

    type: Literal["run.cancelled"] = "run.cancelled"


class CheckpointRegisteredWebhook(_Webhook):
    """A run registered a checkpoint."""

    type: Literal["checkpoint.registered"] = "checkpoint.registered"
    data: CheckpointWebhookData


class GatePassedWebhook(_Webhook):
    """A new checkpoint passed its gates."""

    type: Literal["gate.passed"] = "gate.passed"
    data: GateWebhookData


class GateRefusedWebhook(_Webhook):
    """The gates refused a new checkpoint."""

    type: Literal["gate.refused"] = "gate.refused"
    data: GateWebhookData


class GateUndecidedWebhook(_Webhook):
    """The gates left a new checkpoint undecided."""

    type: Literal["gate.undecided"] = "gate.undecided"
    data: GateWebhookData


class ReleaseShippedWebhook(_Webhook):
    """A checkpoint was shipped."""

    type: Literal["release.shipped"] = "release.shipped"
    data: ReleaseWebhookData


class ReleaseRolledBackWebhook(_Webhook):
    """An earlier checkpoint was shipped again by a rollback."""

    type: Literal["release.rolled_back"] = "release.rolled_back"
    data: ReleaseWebhookData


class ReleaseStartedOverWebhook(_Webhook):
    """The project has another base model, which is shipped now."""

    type: Literal["release.started_over"] = "release.started_over"
    data: ReleaseWebhookData


class ReleaseCanaryWebhook(_Webhook):
    """A share of the actors gets another checkpoint, beside what is live."""

    type: Literal["release.canary"] = "release.canary"
    data: ReleaseWebhookData


class ReleaseCanaryEndedWebhook(_Webhook):
    """A canary was taken back: all actors get what is live."""

    type: Literal["release.canary_ended"] = "release.canary_ended"
    data: ReleaseWebhookData


class ApprovalFellWebhook(_Webhook):
    """Users like a release less than another one, so the project's policy took it back."""

    type: Literal["approval.fell"] = "approval.fell"
    data: ApprovalWebhookData


class ErasureRequestedWebhook(_Webhook):
    """The erasure of an actor was requested."""

    type: Literal["erasure.requested"] = "erasure.requested"
    data: ErasureWebhookData


class ErasureCompletedWebhook(_Webhook):
    """An erasure is done, and has its certificate."""

    type: Literal["erasure.completed"] = "erasure.completed"
    data: ErasureWebhookData


class ErasureFailedWebhook(_Webhook):
    """An erasure failed and needs an operator."""

    type: Literal["erasure.failed"] = "erasure.failed"
    data: ErasureWebhookData


class QuarantineFoundWebhook(_Webhook):
    """The loop found actors whose votes look automated. They wait for a decision."""

    type: Literal["quarantine.found"] = "quarantine.found"
    data: FindingsWebhookData


class QuarantineConfirmedWebhook(_Webhook):
    """An operator decided that the votes of an actor do not count."""

    type: Literal["quarantine.confirmed"] = "quarantine.confirmed"
    data: DecisionWebhookData


class QuarantineReleasedWebhook(_Webhook):
    """An operator decided that the votes of an actor count."""

    type: Literal["quarantine.released"] = "quarantine.released"
    data: DecisionWebhookData


class EndpointTestWebhook(_Webhook):
    """An operator tests an endpoint. It comes to that endpoint alone, whatever its subscription."""

    type: Literal["webhook.test"] = "webhook.test"
    data: EndpointTestWebhookData


AnyWebhook = (
    RunRequestedWebhook | RunStartedWebhook | RunMovedWebhook | RunPausedWebhook | RunResumedWebhook
    | RunHeldUpWebhook | RunLostWebhook | RunSucceededWebhook | RunFailedWebhook | RunCancelledWebhook
    | CheckpointRegisteredWebhook | GatePassedWebhook | GateRefusedWebhook | GateUndecidedWebhook
    | ReleaseShippedWebhook | ReleaseRolledBackWebhook | ReleaseStartedOverWebhook | ReleaseCanaryWebhook
    | ReleaseCanaryEndedWebhook | ApprovalFellWebhook | ErasureRequestedWebhook | ErasureCompletedWebhook
    | ErasureFailedWebhook | QuarantineFoundWebhook | QuarantineConfirmedWebhook | QuarantineReleasedWebhook
    | EndpointTestWebhook
)  # fmt: skip
Webhook = Annotated[AnyWebhook, Field(discriminator="type")]

#: The models by type.
WEBHOOKS: Mapping[str, type[AnyWebhook]] = {model.model_fields["type"].default: model for model in get_args(AnyWebhook)}
_ANY: TypeAdapter[AnyWebhook] = TypeAdapter(Webhook)


def webhook_of(payload: Mapping[str, Any]) -> AnyWebhook:
    """Returns the model of a verified payload. Raises pydantic's ValidationError for an unknown type."""
    return _ANY.validate_python(payload)
