"""Label policies: what a signal means and how much it counts, as a document that is never changed once it is stored."""

from collections.abc import Collection
from datetime import datetime
from typing import Annotated, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from thumbwheel.wire.values import Body, Name, Text

#: In thousandths, so that sums are exact and ties are ties.
Weight = Annotated[float, Field(gt=0, le=10, multiple_of=0.001, description="how much it counts; a thumb counts 1")]
Share = Annotated[float, Field(ge=0, le=1)]
Hours = Annotated[float, Field(gt=0, le=24 * 366)]
Label = Literal["desirable", "undesirable"]
#: Groups of signals in the order of precedence; implicit: accept, reject, copy, regenerate, escalate, reopen, resolve.
Precedence = Literal["thumbs", "flag", "edit", "rating", "preference", "outcome", "implicit"]


class Says(Body):
    """What a signal says of its completion."""

    label: Label
    weight: Weight = 1


class SaysUnless(Says):
    """What a signal says once a while has passed in which nobody did something else about the same completion."""

    unless: Literal["reopen", "escalate", "regenerate", "reject"] | None = Field(
        None, description="a signal that takes the verdict away"
    )
    within_hours: Hours = Field(24, description="how long it may follow; the verdict waits until this time is over")


class ThumbsRule(Body):
    up: Says | None = Says(label="desirable")
    down: Says | None = Says(label="undesirable")


class EditRule(Body):
    """Edits by how much they changed.

    *unchanged* but for spaces at the ends; *cosmetic*: no word's meaning, like a typo, and at least `cosmetic_from`
    alike; *rewrite*: less than `rewrite_below` alike; *substantive*: all between. Alike is 1 minus the edits (insert,
    delete, replace, swap neighbours) over the longer text's length, letters folded to one case.
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

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.rewrite_below > self.cosmetic_from:
            raise ValueError("rewrite_below must not be above cosmetic_from: an edit would be both")
        return self


class FixedThresholds(Body):
    """Places on a rating's scale: 0 is its lowest and 1 its highest value."""

    kind: Literal["fixed"] = "fixed"
    desirable_from: Share = 0.85
    undesirable_to: Share = 0.5

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.undesirable_to >= self.desirable_from:
            raise ValueError("undesirable_to must be below desirable_from: a rating would be both")
        return self


class MedianThresholds(Body):
    """Above the median place of the project's ratings is desirable, below it undesirable, at it nothing."""

    kind: Literal["median"] = "median"
    days: float = Field(90, gt=0, le=3660, description="the window before the end of the log in which ratings count")
    minimum: int = Field(20, ge=1, description="with fewer ratings in the window none says anything")


class RatingRule(Body):
    thresholds: Annotated[FixedThresholds | MedianThresholds, Field(discriminator="kind")] = FixedThresholds()
    high: Says | None = Says(label="desirable")
    low: Says | None = Says(label="undesirable")


class PreferenceRule(Body):
    preferred: Says | None = Says(label="desirable")
    not_preferred: Says | None = Says(label="undesirable")


class FlagTier(Body):
    """Flags of one severity."""

    flags: list[Name] = Field(min_length=1, max_length=256)
    says: Says | None


class OutcomeRule(Body):
    """What a named fact of the product says where it is true, and where it is false."""

    true: SaysUnless | None = None
    false: SaysUnless | None = None


class SignalRules(Body):
    """For each kind of signal what it says; null: nothing. Comments never say anything."""

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
    )
    outcome: dict[Name, OutcomeRule] = Field({}, description="by the outcome's name")
    accept: SaysUnless | None = SaysUnless(label="desirable", weight=0.5)
    copy_: SaysUnless | None = Field(SaysUnless(label="desirable", weight=0.5), alias="copy")
    reject: SaysUnless | None = SaysUnless(label="undesirable", weight=0.5)
    regenerate: SaysUnless | None = SaysUnless(label="undesirable", weight=0.25)
    escalate: SaysUnless | None = SaysUnless(label="undesirable", weight=0.25)
    reopen: SaysUnless | None = SaysUnless(label="undesirable", weight=0.25)
    resolve: SaysUnless | None = SaysUnless(label="desirable", weight=0.25, unless="reopen")

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    @model_validator(mode="after")
    def _each_flag_once(self) -> Self:
        flags = [flag for tier in self.flag.values() for flag in tier.flags]
        twice = sorted({flag for flag in flags if flags.count(flag) > 1})
        if twice:
            raise ValueError(f"flag names {twice[0]!r} twice: leave it in one tier")
        return self


class Cap(Body):
    """How much of the weight of all rows one of many may have: the smaller of a share and a number of rows.

    Where there are few of them, a share so small would leave no data: then `times_equal` equal shares are allowed.
    """

    share: float = Field(gt=0, le=1)
    rows: float = Field(ge=1, description="weight of so many thumbs; below one row nothing could be learnt from anyone")
    times_equal: float = Field(10, ge=1, description="never less than this many times an equal share of all")


class Influence(Body):
    """Rows that go over a cap weigh less, all of them by the same factor."""

    actor: Cap | None = Cap(share=0.005, rows=5_000)
    prompt: Cap | None = Cap(share=0.01, rows=10_000)


class NearDuplicates(Body):
    """Texts of so alike sets of words (Jaccard similarity, estimated by MinHash) count once."""

    similarity: float = Field(0.9, ge=0.5, le=1)
    permutations: int = Field(128, ge=16, le=1024)


class Duplicates(Body):
    """Rows with the same prompt and the same completion are one row, with the label of the heavier side."""

    exact: bool = Field(default=True, description="also where only case, spaces and Unicode forms differ")
    near: NearDuplicates | None = Field(None, description="takes about a millisecond a row")


class Burst(Body):
    """More votes of one actor in so short a time than a person who reads could give."""

    votes: int = Field(60, ge=2)
    seconds: float = Field(60, gt=0)


class OneWay(Body):
    """An actor with many votes nearly all on one side, where the others' votes are not so."""

    votes: int = Field(50, ge=2)
    share: float = Field(0.97, gt=0.5, le=1)


class Ring(Body):
    """Actors who judge the same completions in the same way, far more often than by chance."""

    together: int = Field(10, ge=2, description="completions that two actors both judged")
    overlap: float = Field(0.8, gt=0, le=1, description="of all that either judged (Jaccard)")
    agreement: float = Field(0.95, gt=0.5, le=1)
    actors: int = Field(3, ge=2, description="the fewest that are a ring")


class Quarantine(Body):
    """Whose votes wait for an operator's decision, and do not count until then."""

    burst: Burst | None = Burst()
    one_way: OneWay | None = OneWay()
    ring: Ring | None = Ring()


class GuardRules(Body):
    influence: Influence = Influence()
    duplicates: Duplicates = Duplicates()
    quarantine: Quarantine = Quarantine()


class AuditRule(Body):
    """What an audit must have shown before a run starts."""

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

    @model_validator(mode="after")
    def _precedence_is_whole(self) -> Self:
        missing = set(_groups()) - set(self.precedence)
        if missing or len(self.precedence) != len(_groups()):
            what = f"lacks {_listed(missing)}" if missing else "names one twice"
            raise ValueError(f"precedence {what}: name each of {_listed(_groups())} once")
        return self


class NewLabelPolicy(Body):
    policy: LabelPolicy
    note: Text = Field("", description="why it is as it is")


class StoredLabelPolicy(BaseModel):
    """One version of a project's policy. Version 0 is the default that comes with this server."""

    version: int
    policy: LabelPolicy
    sha256: str
    note: str
    adopted: bool = Field(description="whether labels are given by it now")
    created_at: datetime | None
    created_by: str | None


def _listed(names: Collection[str]) -> str:
    return ", ".join(sorted(names))
