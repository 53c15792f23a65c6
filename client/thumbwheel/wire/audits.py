"""Audits of labels: people judge whether the labels of a sample of rows are right."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from thumbwheel.wire.policy_values import Label
from thumbwheel.wire.values import Body, storable

AuditVerdict = Literal["agree", "disagree", "unsure"]
AUDIT_PER_CLASS = 200
MAX_SEED = 2**63 - 1


class NewAudit(Body):
    model_config = ConfigDict(json_schema_extra={"examples": [{"per_class": 200, "seed": 0}]})

    per_class: int = Field(AUDIT_PER_CLASS, ge=1, le=5000, description="rows of each class; all where there are fewer")
    seed: int = Field(
        0, ge=0, le=MAX_SEED, description="the same seed draws the same rows from the same labels; another one, others"
    )


class AuditFigure(BaseModel):
    """The results for a group of items. Precision is the share of correct labels, with Wilson's 95 % interval; null
    while no verdict agrees or disagrees."""

    items: int
    judged: int = Field(description="items with the verdict agree or disagree; unsure does not count")
    agreed: int
    unsure: int
    precision: float | None
    low: float | None
    high: float | None


class AuditClass(AuditFigure):
    label: Label
    rows: int = Field(description="rows of this class that the sample was drawn from")


class AuditKind(AuditFigure):
    label: Label
    kind: str = Field(description="kind of the signal with the most weight", examples=["thumbs"])


class Audit(BaseModel):
    id: UUID
    project: str
    watermark: int = Field(description="place in the log up to which labels were drawn from")
    policy_name: str
    policy_version: int
    policy_sha256: str
    seed: int
    per_class: int
    created_at: datetime
    created_by: str
    items: int
    pending: int = Field(description="items without a verdict; at 0 the audit is finished")
    classes: list[AuditClass]
    kinds: list[AuditKind] = Field(description="the same figures by class and kind of signal")
    mislabelled_good: float | None = Field(
        None,
        description="share of the good completions with an undesirable label, as the recipe's field of this name "
        "takes it; null without verdicts on both classes",
    )
    mislabelled_bad: float | None = Field(None, description="share of the bad completions with a desirable label")


class GivenVerdict(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    verdict: AuditVerdict
    note: str
    by: str
    at: datetime


class AuditItem(BaseModel):
    """One row of the sample, as it was when it was drawn."""

    number: int
    completion_id: str
    prompt: str | list[dict[str, Any]] | dict[str, Any]
    completion: str
    label: Label
    weight: float
    reason: str = Field(description="the reason that contributed most to the label", examples=["thumbs_down"])
    kind: str = Field(description="kind of the signal behind the reason", examples=["thumbs"])
    checkpoint_id: UUID | None
    suspicion: float | None = Field(description="0 to 1: how unlikely the label is to a model that never saw it")
    verdict: AuditVerdict | None = Field(description="the newest one")
    history: list[GivenVerdict] = Field(description="every verdict on this item, oldest first")


class NewAuditVerdict(Body):
    model_config = ConfigDict(json_schema_extra={"examples": [{"verdict": "disagree", "note": "irony"}]})

    verdict: AuditVerdict
    note: Annotated[str, Field(max_length=500), AfterValidator(storable)] = ""
