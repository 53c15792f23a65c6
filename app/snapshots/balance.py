"""Whether rows are enough, and even enough, to learn from. Pure.

Every comparison is written so that NaN refuses.
"""

from dataclasses import dataclass
from math import ceil, inf
from typing import Literal

from thumbwheel import wire

#: What an objective learns from.
Needs = Literal["both classes", "desirable rows", "pairs"]

#: Desirable to undesirable, by weight. Outside of it one class drowns the other whatever λ says.
WIDEST_IMBALANCE = 10


@dataclass
class Tally:
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


def reasons_to_refuse(train: Tally, rules: wire.SnapshotRules, objective: str, needs: Needs) -> list[str]:
    """Why `objective` should learn nothing from these rows; each reason says what would help."""
    if needs == "pairs":
        return _too_few_pairs(train, rules, objective)
    reasons = _too_few_rows(train, rules, needs)
    if needs == "both classes":
        if train.desirable == 0 or train.undesirable == 0:
            return reasons + _one_class(train, objective)
        reasons += _unusable(train.weight_desirable, train.weight_undesirable) or _uneven(train, rules)
    elif train.desirable:
        reasons += _unusable(train.weight_desirable)
    return reasons


def warnings(holdout: Tally) -> list[str]:
    """What is no reason to refuse, and will be missed later."""
    missing = [name for name in ("desirable", "undesirable") if getattr(holdout, name) == 0]
    return [
        f"the holdout has no {name} rows: the evaluation can give no AUROC, and the gates will not pass"
        for name in missing
    ]


def _too_few_rows(train: Tally, rules: wire.SnapshotRules, needs: Needs) -> list[str]:
    reasons = []
    wanted = [("desirable", train.desirable, "thumbs up, accepted or edited answers")]
    if needs == "both classes":
        wanted.append(("undesirable", train.undesirable, "thumbs down or edited answers"))
    for name, rows, how in wanted:
        if not rows >= rules.minimum_per_class:
            reasons.append(
                f"{rows} {name} training rows, {rules.minimum_per_class} are needed (snapshot.minimum_per_class): "
                f"about {_more(rows, rules)} more {name} labels ({how})"
            )
    return reasons


def _too_few_pairs(train: Tally, rules: wire.SnapshotRules, objective: str) -> list[str]:
    how = "edited answers, preferences, or thumbs up and down on several answers to one prompt"
    if train.pairs == 0:
        none = f"no prompt has both a desirable and an undesirable completion, {objective} learns from such pairs"
        return [f"{none}: collect {how}, or set the recipe's objective to kto, which needs no pairs"]
    if not train.pairs >= rules.minimum_per_class:
        few = f"{train.pairs} training pairs, {rules.minimum_per_class} are needed (snapshot.minimum_per_class)"
        return [f"{few}: about {_more(train.pairs, rules)} more pairs ({how})"]
    return _unusable(train.weight_desirable, train.weight_undesirable)


def _more(have: int, rules: wire.SnapshotRules) -> int:
    """New labels that are still needed: the holdout takes its share of them."""
    return ceil((rules.minimum_per_class - have) / (1 - rules.holdout_share))


def _one_class(train: Tally, objective: str) -> list[str]:
    if train.desirable == train.undesirable:
        return []
    only, missing = ("desirable", "undesirable") if train.desirable else ("undesirable", "desirable")
    return [f"every training row is {only}: {objective} needs both classes, collect {missing} labels"]


def _unusable(*weights: float) -> list[str]:
    if all(0 < weight < inf for weight in weights):
        return []
    return [f"the row weights add up to {' and '.join(f'{weight:g}' for weight in weights)}: unusable"]


def _uneven(train: Tally, rules: wire.SnapshotRules) -> list[str]:
    up, down = train.weight_desirable, train.weight_undesirable
    if rules.allow_imbalance or (up * WIDEST_IMBALANCE >= down and down * WIDEST_IMBALANCE >= up):
        return []
    rare, rare_weight, other_weight = ("desirable", up, down) if up < down else ("undesirable", down, up)
    missing = (other_weight / WIDEST_IMBALANCE - rare_weight) / (1 - rules.holdout_share)
    found = (
        f"desirable to undesirable is {up:g} : {down:g} by weight, outside 1:{WIDEST_IMBALANCE} … {WIDEST_IMBALANCE}:1"
    )
    return [f"{found}: about {ceil(missing)} more {rare} labels, or set snapshot.allow_imbalance"]
