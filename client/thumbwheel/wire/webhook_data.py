"""The data of webhooks: what a payload says about its subject, beside type and time.

It is thin: ids, states, a verdict with its reasons, and a link to the API. It has no text and no id of a user.
"""

from typing import Literal
from uuid import UUID

from pydantic import BaseModel, Field

from thumbwheel.wire.checkpoints import Verdict
from thumbwheel.wire.gates import RuleVerdict
from thumbwheel.wire.privacy import ErasureState
from thumbwheel.wire.quarantine import QuarantineRule
from thumbwheel.wire.release_approval import RollbackDecision
from thumbwheel.wire.runs import RunState, RunTransitionKind


class _WebhookData(BaseModel):
    project: str
    url: str = Field(description="of the operation of the API that shows more")


class RunWebhookData(_WebhookData):
    """A row of a run's history."""

    run_id: UUID
    kind: RunTransitionKind = Field(description="of the transition in the run's history")
    from_state: RunState | None
    state: RunState
    paused: bool
    waiting: bool = Field(description="queued behind the project's active run")
    attempt: int | None = Field(description="the attempt that it concerns, from 1; null before the first claim")
    reason: str
    checkpoint_id: UUID | None = Field(description="what a succeeded run registered")


class CheckpointWebhookData(_WebhookData):
    checkpoint_id: UUID
    run_id: UUID
    kind: str = Field(description="adapter or weights")
    verdict: Verdict


class GateWebhookData(_WebhookData):
    """The verdict of the gates on a new checkpoint."""

    checkpoint_id: UUID
    run_id: UUID
    verdict: RuleVerdict
    reasons: list[str] = Field(description="the first 20, each with its remedy")
    gates_version: int | None = Field(description="of the gates that judged the checkpoint; null: unknown")


class ReleaseWebhookData(_WebhookData):
    """An entry of the ledger of releases."""

    number: int
    checkpoint_id: UUID
    verdict: Verdict
    share: float | None = Field(None, description="of actors that get a canary")
    live_checkpoint_id: UUID | None = Field(
        None, description="what is live after this entry; null in events that are older than the field"
    )
    canary_checkpoint_id: UUID | None = Field(None, description="the canary beside it after this entry")
    reason: str
    override_reason: str | None
    override_scope: list[str] | None
    by: str = Field(description="the key, or `monitoring` for a rollback that the project's policy decided")


class ApprovalWebhookData(_WebhookData):
    """An automatic rollback, and the figures that decided it."""

    number: int = Field(description="of the entry of the ledger that it wrote")
    checkpoint_id: UUID = Field(description="of that entry")
    decision: RollbackDecision


class ErasureWebhookData(_WebhookData):
    """An erasure. The actor is not named."""

    erasure_id: UUID
    state: ErasureState


class FindingsWebhookData(_WebhookData):
    """Actors that the rules of the label policy found. None is named."""

    new_actors: int = Field(description="actors without a decision, found since the last reading of the log")
    rules: list[QuarantineRule] = Field(description="the rules that found them")


class DecisionWebhookData(_WebhookData):
    """A decision on an actor, who is not named."""

    number: int = Field(description="of the decision within the project")
    decision: Literal["released", "confirmed"]


class EndpointTestWebhookData(_WebhookData):
    endpoint_id: UUID
