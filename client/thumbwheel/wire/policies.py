"""Label policies: the meaning and weight of each signal, as a document that never changes once it is stored."""

from collections.abc import Collection
from datetime import datetime
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from thumbwheel.wire.guard_rules import MOST, GuardRules
from thumbwheel.wire.policy_values import Hours, Label, Place, Precedence, Share, Weight
from thumbwheel.wire.values import Body, Name, Text, storable


class Says(Body):
    """The verdict of a signal on its completion."""

    label: Label
    weight: Weight = 1


class SaysUnless(Says):
    """The verdict of a signal, unless a certain other signal on the same completion follows within a time."""

    unless: Literal["reopen", "escalate", "regenerate", "reject"] | None = Field(
        None, description="a signal that takes the verdict away"
    )
    within_hours: Hours = Field(24, description="how long it may follow; the verdict waits until this time is over")

    @model_validator(mode="after")
    def _waits_for_something(self) -> Self:
        if self.unless is None and self.within_hours != type(self).model_fields["within_hours"].default:
            raise ValueError("within_hours changes nothing without unless: name what must not follow, or leave it out")
        return self


class ThumbsRule(Body):
    up: Says | None = Says(label="desirable")
    down: Says | None = Says(label="undesirable")


class EditRule(Body):
    """Edits by how much they changed.

    *unchanged*: but for spaces at the ends. *cosmetic*: no word's meaning (case, spaces, punctuation, and a typo in
    texts at least `cosmetic_from` alike). *rewrite*: another number or sign, or less than `rewrite_below` alike.
    *substantive*: all others. Alike is Levenshtein's similarity: 1 minus the edits over the longer text's length.
    """

    cosmetic_from: Share = 0.9
    rewrite_below: Share = 0.8
    unchanged: Says | None = Says(label="desirable", weight=0.5)
    cosmetic: Says | None = Says(label="desirable")
    substantive: Says | None = None
    rewrite: Says | None = Says(label="undesirable")
    rewritten_text: Weight | None = Field(
        1, description="weight of the text written in a rewrite, a desirable row of its own; null: none"
    )
    substantive_text: Weight | None = Field(None, description="the same for the text of a substantive edit")


class FixedThresholds(Body):
    """Places on a rating's scale: 0 is its lowest and 1 its highest value."""

    kind: Literal["fixed"] = "fixed"
    desirable_from: Place = 0.85
    undesirable_to: Place = 0.5

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.undesirable_to >= self.desirable_from:
            raise ValueError("undesirable_to is not below desirable_from, a rating would be both: move them apart")
        return self


class MedianThresholds(Body):
    """Above the median place of the project's ratings is desirable, below it undesirable, at it nothing."""

    kind: Literal["median"] = "median"
    days: float = Field(90, gt=0, le=3660, description="the window before the end of the log in which ratings count")
    minimum: int = Field(20, ge=1, le=MOST, description="with fewer ratings in the window, none gives a label")


class RatingRule(Body):
    thresholds: Annotated[FixedThresholds | MedianThresholds, Field(discriminator="kind")] = FixedThresholds()
    high: Says | None = Says(label="desirable")
    low: Says | None = Says(label="undesirable")

    @field_validator("thresholds", mode="before")
    @classmethod
    def _fixed_unless_said(cls, thresholds: Any) -> Any:
        return {"kind": "fixed", **thresholds} if isinstance(thresholds, dict) else thresholds


class PreferenceRule(Body):
    preferred: Says | None = Says(label="desirable")
    not_preferred: Says | None = Says(label="undesirable")


class FlagTier(Body):
    """Flags of one severity."""

    flags: list[Name] = Field(min_length=1, max_length=256)
    says: Says | None


class OutcomeRule(Body):
    """The verdicts of a named outcome, for true and for false."""

    true: SaysUnless | None = None
    false: SaysUnless | None = None


class SignalRules(Body):
    """The verdict of each kind of signal; null: none. Comments have no verdict."""

    thumbs: ThumbsRule = ThumbsRule()
    edit: EditRule = EditRule()
    rating: RatingRule = RatingRule()
    preference: PreferenceRule = PreferenceRule()
    flag: dict[Name, FlagTier] = Field(
        {
            "severe": FlagTier(
                flags=["unsafe", "harmful", "offensive", "hate", "harassment", "illegal", "privacy", "dangerous"],
                says=Says(label="undesirable", weight=1),
            ),
            "quality": FlagTier(
                flags=["wrong", "incorrect", "hallucination", "irrelevant", "refusal", "spam"],
                says=Says(label="undesirable", weight=0.75),
            ),
        },
        description="tiers by their name; of several flags the heaviest counts",
        max_length=64,
    )
    outcome: dict[Name, OutcomeRule] = Field({}, description="by the outcome's name", max_length=1024)
    accept: SaysUnless | None = SaysUnless(label="desirable", weight=0.5)
    copy_: SaysUnless | None = Field(SaysUnless(label="desirable", weight=0.5), alias="copy")
    reject: SaysUnless | None = SaysUnless(label="undesirable", weight=0.5)
    regenerate: SaysUnless | None = SaysUnless(label="undesirable", weight=0.25)
    escalate: SaysUnless | None = SaysUnless(label="undesirable", weight=0.25)
    reopen: SaysUnless | None = SaysUnless(label="undesirable", weight=0.25)
    resolve: SaysUnless | None = SaysUnless(label="desirable", weight=0.25, unless="reopen")

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, serialize_by_alias=True)

    @field_validator("flag", mode="after")
    @classmethod
    def _each_flag_once(cls, tiers: dict[str, FlagTier]) -> dict[str, FlagTier]:
        seen: set[str] = set()
        for flag in (flag for tier in tiers.values() for flag in tier.flags):
            if flag in seen:
                raise ValueError(f"names {flag!r} twice: leave it in one tier")
            seen.add(flag)
        return tiers

    @field_validator("reject", "regenerate", "escalate", "reopen", mode="after")
    @classmethod
    def _not_unless_itself(cls, says: SaysUnless | None, about: ValidationInfo) -> SaysUnless | None:
        if says is not None and says.unless == about.field_name:
            raise ValueError(f"would be taken away by another {says.unless}: name another signal in unless, or none")
        return says

    @model_validator(mode="after")
    def _both_labels_can_be(self) -> Self:
        possible = {says.label for says in self._verdicts()}
        if self.edit.rewritten_text is not None or self.edit.substantive_text is not None:
            possible.add("desirable")
        missing = sorted({"desirable", "undesirable"} - possible)
        if missing:
            raise ValueError(
                f"nothing can become {missing[0]}, and from one class alone nothing is learnt: "
                f"let some signal say {missing[0]}, for example thumbs"
            )
        return self

    def _verdicts(self) -> list[Says]:
        edit, rating, preference = self.edit, self.rating, self.preference
        says: list[Says | None] = [self.thumbs.up, self.thumbs.down]
        says += [edit.unchanged, edit.cosmetic, edit.substantive, edit.rewrite, rating.high, rating.low]
        says += [preference.preferred, preference.not_preferred]
        says += [tier.says for tier in self.flag.values()]
        says += [verdict for rule in self.outcome.values() for verdict in (rule.true, rule.false)]
        says += [self.accept, self.copy_, self.reject, self.regenerate, self.escalate, self.reopen, self.resolve]
        return [verdict for verdict in says if verdict is not None]


class AuditRule(Body):
    """The audit result that a run requires."""

    minimum_precision: float = Field(gt=0, lt=1, description="of the labels of each class, at the interval's low end")
    within_days: float = Field(90, gt=0, le=3660, description="how old the audit may be")


def _groups() -> list[Precedence]:
    return list(get_args(Precedence))


class LabelPolicy(Body):
    """Rules from the signals of one completion to desirable, undesirable or nothing, with a weight and the reasons.

    Of each actor one verdict counts: of the group of signals with the highest precedence, the latest. The actors'
    verdicts are added by weight: the heavier side gives the label, equal sides give nothing.
    """

    name: Name = "default"
    signals: SignalRules = SignalRules()
    precedence: list[Precedence] = Field(default_factory=_groups, description="the most telling first")
    guards: GuardRules = GuardRules()
    audit: AuditRule | None = None

    @field_validator("precedence", mode="after")
    @classmethod
    def _precedence_is_whole(cls, groups: list[Precedence]) -> list[Precedence]:
        missing = set(_groups()) - set(groups)
        if missing or len(groups) != len(_groups()):
            what = f"lacks {_listed(missing)}" if missing else "names one twice"
            raise ValueError(f"{what}: name each of {_listed(_groups())} once")
        return groups


Reason = Annotated[str, Field(max_length=500), AfterValidator(storable)]


class NewLabelPolicy(Body):
    """Stored as the next version; the same policy again is the version that it has."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "policy": {
                        "name": "support desk",
                        "signals": {
                            "outcome": {
                                "ticket_solved": {
                                    "true": {"label": "desirable", "unless": "reopen", "within_hours": 24},
                                    "false": {"label": "undesirable", "weight": 0.5},
                                }
                            }
                        },
                    },
                    "note": "a solved ticket counts, unless it is opened again within a day",
                }
            ]
        }
    )

    policy: LabelPolicy
    note: Annotated[Text, Field(max_length=2000)] = Field("", description="the reasons for its rules")


class StoredLabelPolicy(BaseModel):
    """One version of a project's policy. Version 0 is the default that comes with this server."""

    version: int
    policy: LabelPolicy
    sha256: str
    note: str
    adopted: bool = Field(description="whether labels are given by it now")
    created_at: datetime | None
    created_by: str | None


class NewAdoption(Body):
    """A request to assign labels by this version from now on."""

    reason: Reason = Field("", description="why, for the ledger")


class LabelPolicyAdoption(BaseModel):
    """An entry of the ledger of what labels were given by, and since when. The newest counts."""

    model_config = ConfigDict(from_attributes=True)

    number: int = Field(description="1, 2, 3 … within the project")
    version: int
    reason: str
    by: str
    created_at: datetime


def _listed(names: Collection[str]) -> str:
    return ", ".join(sorted(names))
