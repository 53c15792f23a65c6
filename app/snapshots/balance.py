"""Whether rows are enough, and even enough, to learn from. Pure.

Every comparison is written so that NaN refuses.
"""

from dataclasses import dataclass
from math import ceil, inf

from thumbwheel import wire

#: Desirable to undesirable, by weight. Outside of it one class drowns the other whatever λ says.
WIDEST_IMBALANCE = 10


@dataclass
class Tally:
    """Rows and summed row weights by class."""

    desirable: int = 0
    undesirable: int = 0
    weight_desirable: float = 0.0
    weight_undesirable: float = 0.0

    def add(self, label: bool, weight: float) -> None:
        if label:
            self.desirable += 1
            self.weight_desirable += weight
        else:
            self.undesirable += 1
            self.weight_undesirable += weight


def reasons_to_refuse(train: Tally, rules: wire.SnapshotRules) -> list[str]:
    """Why nothing should be learnt from these rows; each reason says what would help."""
    reasons = []
    for name, rows, how in (
        ("desirable", train.desirable, "thumbs up, accepted or edited answers"),
        ("undesirable", train.undesirable, "thumbs down or edited answers"),
    ):
        if not rows >= rules.minimum_per_class:
            # Of new labels, the holdout takes its share.
            more = ceil((rules.minimum_per_class - rows) / (1 - rules.holdout_share))
            reasons.append(
                f"{rows} {name} training rows, {rules.minimum_per_class} are needed (snapshot.minimum_per_class): "
                f"about {more} more {name} labels ({how})"
            )
    if train.desirable == 0 or train.undesirable == 0:
        if train.desirable != train.undesirable:
            only, missing = ("desirable", "undesirable") if train.desirable else ("undesirable", "desirable")
            reasons.append(f"every training row is {only}: KTO needs both classes, collect {missing} labels")
        return reasons
    if not (0 < train.weight_desirable < inf and 0 < train.weight_undesirable < inf):
        reasons.append(
            f"the row weights add up to {train.weight_desirable:g} and {train.weight_undesirable:g}: unusable"
        )
    elif not _even(train.weight_desirable, train.weight_undesirable) and not rules.allow_imbalance:
        reasons.append(_imbalance(train, rules))
    return reasons


def warnings(holdout: Tally) -> list[str]:
    """What is no reason to refuse, and will be missed later."""
    missing = [name for name in ("desirable", "undesirable") if getattr(holdout, name) == 0]
    return [
        f"the holdout has no {name} rows: the evaluation can give no AUROC, and the gates will not pass"
        for name in missing
    ]


def _even(weight_desirable: float, weight_undesirable: float) -> bool:
    return (
        weight_desirable * WIDEST_IMBALANCE >= weight_undesirable
        and weight_undesirable * WIDEST_IMBALANCE >= weight_desirable
    )


def _imbalance(train: Tally, rules: wire.SnapshotRules) -> str:
    up, down = train.weight_desirable, train.weight_undesirable
    rare, rare_weight, other_weight = ("desirable", up, down) if up < down else ("undesirable", down, up)
    found = (
        f"desirable to undesirable is {up:g} : {down:g} by weight, outside 1:{WIDEST_IMBALANCE} … {WIDEST_IMBALANCE}:1"
    )
    missing = (other_weight / WIDEST_IMBALANCE - rare_weight) / (1 - rules.holdout_share)
    return f"{found}: about {ceil(missing)} more {rare} labels, or set snapshot.allow_imbalance"
