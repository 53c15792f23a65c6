"""Gates: documents of rules on the evaluation of a checkpoint, their versions, and the decision that they give."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag

from thumbwheel.wire.values import Body, Name, Text, storable

PresetName = Literal["standard", "strict", "toy"]
Comparison = Literal["absolute", "shipped", "ancestor", "dumb_readers"]
RuleVerdict = Literal["passed", "refused", "undecided"]
GateReason = Annotated[str, Field(max_length=500), AfterValidator(storable)]
#: The name of a suite rule that applies to every suite of the run.
EVERY_SUITE = "every"


class FigureBounds(Body):
    """The bounds of a figure. Its whole interval must keep them."""

    at_least: float | None = Field(None, allow_inf_nan=False, description="the smallest figure that passes")
    at_most: float | None = Field(None, allow_inf_nan=False, description="the largest figure that passes")
    above: float | None = Field(
        None,
        allow_inf_nan=False,
        description="as at_least, but an equal figure does not pass: for figures that chance reaches exactly, such as "
        "an AUROC of 0.5",
    )
    confidence: float | None = Field(
        0.95,
        ge=0.5,
        lt=1,
        description="coverage of the interval that must keep the bounds; null: that of the intervals in the scores",
    )


class GateRule(FigureBounds):
    """A rule on one figure of the scores."""

    name: Name | None = Field(
        None, description="unique in the document; unset: the metric, and after a colon what it is compared with"
    )
    metric: Name = Field(description="a metric of the registry, such as auroc; docs/gates.md lists them")
    compared_with: Comparison = Field(
        "absolute",
        description="absolute: the bounds hold for the figure itself; otherwise for its difference from that of the "
        "shipped model, the ancestor or the best dumb reader, or for their ratio",
    )


class SuiteRule(FigureBounds):
    """A rule on the share of a suite's tests that pass, or on another metric of the suite."""

    suite: Name = Field(description="the name of a suite, or every: a rule for each suite of the run without its own")
    metric: Name | None = Field(None, description="a metric that the suite's assertions name; unset: the pass share")
    compared_with: Literal["absolute", "shipped", "ancestor"] = "shipped"


class FindingRules(Body):
    """Findings of the trainer after its last step that refuse a checkpoint."""

    refused: tuple[Name, ...] = Field((), max_length=20, description="codes of findings")
    errors: bool = Field(default=False, description="also every finding of severity error")


class GateMinimum(Body):
    """The smallest holdout that decides anything."""

    rows: int = Field(0, ge=0, le=1_000_000, description="held-out rows")
    groups: int = Field(0, ge=0, le=1_000_000, description="held-out prompts, and prompts under a figure that has them")
    rows_of_each_class: int = Field(0, ge=0, le=1_000_000, description="held-out rows of each class")


class GateDocument(Body):
    """The conditions that evaluation must meet before a checkpoint may ship."""

    name: Name
    minimum: GateMinimum = GateMinimum()
    rules: tuple[GateRule, ...] = Field((), max_length=100)
    findings: FindingRules = FindingRules()
    suites: tuple[SuiteRule, ...] = Field((), max_length=100)


def _kind(choice: Any) -> str:
    return "preset" if isinstance(choice, str) else "document"


#: A preset by its name, or a document.
GateChoice = Annotated[
    Annotated[PresetName, Tag("preset")] | Annotated[GateDocument, Tag("document")], Discriminator(_kind)
]


class AdoptedGates(Body):
    """The gates by which a project's runs are judged."""

    version: int = Field(description="the version of the project's gates")
    sha256: str = Field(description="of the document in its canonical form")
    document: GateDocument


class NewGates(Body):
    """Gates to store as the next version. The same document again is the version that it has."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "gates": {
                        "name": "support desk",
                        "minimum": {"rows": 100, "groups": 30, "rows_of_each_class": 30},
                        "rules": [
                            {"metric": "auroc", "compared_with": "shipped", "at_least": -0.05},
                            {
                                "metric": "samples.length_ratio",
                                "compared_with": "shipped",
                                "at_least": 0.87,
                                "at_most": 1.15,
                            },
                        ],
                        "findings": {"refused": ["rewards_fall"], "errors": True},
                        "suites": [{"suite": "every", "at_least": -0.05}],
                    },
                    "note": "replies may not get longer",
                }
            ]
        }
    )

    gates: GateChoice = Field(description="the name of a preset, or a document")
    note: Annotated[Text, Field(max_length=2000)] = Field("", description="the reasons for its rules")


class StoredGates(BaseModel):
    """One version of a project's gates."""

    version: int
    document: GateDocument
    sha256: str
    note: str
    adopted: bool = Field(description="whether new runs are judged by it")
    created_at: datetime
    created_by: str


class NewGatesAdoption(Body):
    """A request to judge new runs by this version."""

    reason: GateReason = Field("", description="the reason, for the ledger")


class GatesAdoption(BaseModel):
    """An entry of the ledger of adopted gates. The newest counts."""

    model_config = ConfigDict(from_attributes=True)

    number: int = Field(description="1, 2, 3 … within the project")
    version: int
    reason: str
    by: str
    created_at: datetime


class RuleDecision(BaseModel):
    """The decision of one rule of the gates about a checkpoint."""

    rule: str = Field(description="the name of the rule, for override_scope")
    metric: str
    compared_with: Comparison
    at_least: float | None = None
    at_most: float | None = None
    above: float | None = None
    confidence: float | None = Field(None, description="coverage of the interval; null for counts and findings")
    value: float | None = Field(None, description="the figure; null if it is missing")
    low: float | None = None
    high: float | None = None
    groups: int | None = Field(None, description="number of groups that the figure rests on")
    enough_groups: int | None = Field(
        None, description="for an undecided rule: the number of groups that would probably decide it; null: unknown"
    )
    verdict: RuleVerdict
    reason: str | None = Field(None, description="figure, bound and remedy; null if the rule passed")


class GatesOfCheckpoint(BaseModel):
    """The gates that a checkpoint was judged by."""

    name: str
    version: int
    sha256: str


class Override(BaseModel):
    """A release of a checkpoint whose gates had not passed."""

    model_config = ConfigDict(from_attributes=True)

    number: int = Field(description="the number of the release")
    override_reason: str
    override_scope: list[str] = Field(description="the rules that were overridden")
    by: str
    created_at: datetime
