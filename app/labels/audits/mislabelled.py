"""The share of completions of each kind that users mislabel, from the precision of their labels. Pure."""

from typing import NamedTuple


class MislabelledShares(NamedTuple):
    """good: share of the good completions with an undesirable label; bad: of the bad ones with a desirable label."""

    good: float = 0.0
    bad: float = 0.0


def mislabelled_shares(
    desirable: float, undesirable: float, wrong_desirable: float, wrong_undesirable: float
) -> MislabelledShares:
    """Returns the shares by Bayes' rule; 0 for a kind that no completion is of.

    desirable, undesirable              rows of each class, or their weight
    wrong_desirable, wrong_undesirable  share of the labels of each class that are wrong: 1 − precision
    """
    good = desirable * (1 - wrong_desirable) + undesirable * wrong_undesirable
    bad = desirable + undesirable - good
    return MislabelledShares(
        undesirable * wrong_undesirable / good if good else 0.0, desirable * wrong_desirable / bad if bad else 0.0
    )
