"""Decides whether there are enough rows, and whether their classes are balanced enough, to train on. Pure.

Every comparison is written so that NaN refuses.
"""

from dataclasses import dataclass
from math import ceil, inf
from typing import Literal

from thumbwheel import wire

#: The rows that an objective needs.
Needs = Literal["both classes", "desirable rows", "pairs"]

#: The widest ratio of the classes by weight. Beyond it one class drowns the other for any λ.
WIDEST_IMBALANCE = 10


@dataclass
class ClassTally:
    """Rows and summed row weights by class, and the pairs that they make."""

    desirable: int = 0
    undesirable: int = 0
    weight_desirable: float = 0.0
    weight_undesirable: float = 0.0
    pairs: int = 0

    def add(self, label: bool, weight: float) -> None:
        if label:
            self.desirable += 1
            self.weight_desirable += weight
        else:
            self.undesirable += 1
            self.weight_undesirable += weight


def refusals(train: ClassTally, rules: wire.SnapshotRules, objective: str, needs: Needs) -> list[wire.Refusal]:
    """Returns the reasons against training with `objective` on these rows, each with a remedy."""
    if needs == "pairs":
        return _too_few_pairs(train, rules, objective)
    reasons = _too_few_rows(train, rules, needs)
    if needs == "both classes":
        if train.desirable == 0 or train.undesirable == 0:
            return reasons + _one_class(train, rules, objective)
        reasons += _unusable(train.weight_desirable, train.weight_undesirable) or _uneven(train, rules)
    elif train.desirable:
        reasons += _unusable(train.weight_desirable)
    return reasons


def reasons_to_refuse(train: ClassTally, rules: wire.SnapshotRules, objective: str, needs: Needs) -> list[str]:
    """Returns the reasons of `refusals` as sentences."""
    return [refusal.reason for refusal in refusals(train, rules, objective, needs)]


def undecided_by_gates(holdout: wire.HoldoutForecast, gates: wire.GateDocument, share: float) -> list[str]:
    """Returns the reasons why the gates would leave every checkpoint undecided on this holdout, empty if they would
    not.

    share   the share of the prompt groups that is held out
    """
    reasons = []
    least = gates.minimum
    for have, need, setting, what, of_them in (
        (holdout.desirable + holdout.undesirable, least.rows, "rows", "rows", ""),
        (holdout.prompts, least.groups, "groups", "prompts", " on new prompts"),
        (holdout.desirable, least.rows_of_each_class, "rows_of_each_class", "desirable rows", " that are desirable"),
        (
            holdout.undesirable,
            least.rows_of_each_class,
            "rows_of_each_class",
            "undesirable rows",
            " that are undesirable",
        ),
    ):
        if have < need:
            more = ceil((need - have) / share)
            reasons.append(
                f"{have} {what} would be held out, and gates {gates.name} need {need} (minimum.{setting}), so the "
                f"verdict would be undecided: about {more} more labels{of_them}, or a larger snapshot.holdout_share"
            )
    return reasons


def nothing_left(capped: int) -> wire.Refusal:
    """Returns the additional refusal for rows that the caps on influence leave without weight."""
    remedy = "raise guards.influence in the label policy, or collect feedback of others"
    cause = f"the caps on influence leave {capped} rows no weight, as nearly all are of one actor or of one prompt"
    return wire.Refusal(
        code="capped", of=None, have=capped, need=0, more=None, reason=f"{cause}: {remedy}", remedy=remedy
    )


def warnings(holdout: ClassTally) -> list[str]:
    """Returns warnings about shortages that do not refuse the snapshot and will matter later."""
    missing = [name for name in ("desirable", "undesirable") if getattr(holdout, name) == 0]
    return [
        f"the holdout has no {name} rows: the evaluation can give no AUROC, and the gates will not pass"
        for name in missing
    ]


_HOW = {
    "desirable": "thumbs up, accepted or edited answers",
    "undesirable": "thumbs down or edited answers",
    "pairs": "edited answers, or preferences between two answers to one prompt",
}


def _too_few_rows(train: ClassTally, rules: wire.SnapshotRules, needs: Needs) -> list[wire.Refusal]:
    reasons: list[wire.Refusal] = []
    need = rules.minimum_per_class
    of: Literal["desirable", "undesirable"]
    for of, rows in (("desirable", train.desirable), ("undesirable", train.undesirable)):
        if rows >= need or (of == "undesirable" and needs != "both classes"):
            continue
        more = _more(rows, rules)
        remedy = f"about {more} more {of} labels ({_HOW[of]})"
        reason = f"{rows} {of} training rows, {need} are needed (snapshot.minimum_per_class): {remedy}"
        reasons.append(
            wire.Refusal(code="too_few", of=of, have=rows, need=need, more=more, reason=reason, remedy=remedy)
        )
    return reasons


def _too_few_pairs(train: ClassTally, rules: wire.SnapshotRules, objective: str) -> list[wire.Refusal]:
    need, more = rules.minimum_per_class, _more(train.pairs, rules)
    if train.pairs == 0:
        remedy = (
            f"collect {_HOW['pairs']}, set the recipe's pairs to derived, which makes them of desirable and "
            "undesirable completions of one prompt, or set its objective to kto, which needs no pairs"
        )
        none = f"no two completions of one prompt were compared, {objective} learns from such pairs"
        return [
            wire.Refusal(
                code="no_pairs", of="pairs", have=0, need=need, more=more, reason=f"{none}: {remedy}", remedy=remedy
            )
        ]
    if not train.pairs >= need:
        remedy = f"about {more} more pairs ({_HOW['pairs']})"
        few = f"{train.pairs} training pairs, {need} are needed (snapshot.minimum_per_class)"
        return [
            wire.Refusal(
                code="too_few",
                of="pairs",
                have=train.pairs,
                need=need,
                more=more,
                reason=f"{few}: {remedy}",
                remedy=remedy,
            )
        ]
    return _unusable(train.weight_desirable, train.weight_undesirable)


def _more(have: float, rules: wire.SnapshotRules, need: float | None = None) -> int:
    """Returns the number of new labels that are still needed, as the holdout takes its share of them."""
    return ceil(((rules.minimum_per_class if need is None else need) - have) / (1 - rules.holdout_share))


def _one_class(train: ClassTally, rules: wire.SnapshotRules, objective: str) -> list[wire.Refusal]:
    if train.desirable == train.undesirable:
        return []
    only: Literal["desirable", "undesirable"] = "desirable" if train.desirable else "undesirable"
    missing: Literal["desirable", "undesirable"] = "undesirable" if train.desirable else "desirable"
    remedy = f"collect {missing} labels"
    reason = f"every training row is {only}: {objective} needs both classes, {remedy}"
    return [
        wire.Refusal(
            code="one_class",
            of=missing,
            have=0,
            need=rules.minimum_per_class,
            more=_more(0, rules),
            reason=reason,
            remedy=remedy,
        )
    ]


def _unusable(*weights: float) -> list[wire.Refusal]:
    if all(0 < weight < inf for weight in weights):
        return []
    sums = " and ".join(f"{weight:g}" for weight in weights)
    remedy = "look at the weights in the label policy, and at guards.influence"
    reason = f"the row weights add up to {sums}: unusable"
    return [
        wire.Refusal(code="unusable_weights", of=None, have=None, need=None, more=None, reason=reason, remedy=remedy)
    ]


def _uneven(train: ClassTally, rules: wire.SnapshotRules) -> list[wire.Refusal]:
    up, down = train.weight_desirable, train.weight_undesirable
    if rules.allow_imbalance or (up * WIDEST_IMBALANCE >= down and down * WIDEST_IMBALANCE >= up):
        return []
    rare: Literal["desirable", "undesirable"] = "desirable" if up < down else "undesirable"
    have, need = min(up, down), max(up, down) / WIDEST_IMBALANCE
    more = _more(have, rules, need)
    remedy = f"about {more} more {rare} labels, or set snapshot.allow_imbalance"
    cause = (
        f"desirable to undesirable is {up:g} : {down:g} by weight, outside 1:{WIDEST_IMBALANCE} … {WIDEST_IMBALANCE}:1"
    )
    return [
        wire.Refusal(
            code="uneven", of=rare, have=have, need=need, more=more, reason=f"{cause}: {remedy}", remedy=remedy
        )
    ]
