"""Intervals, AUROC and power, compared with scipy and statsmodels.

Each test imports them itself: that takes seconds, which the collection of all tests should not cost.
"""

from math import log

import numpy as np
import pytest

from app.statistics import measures
from app.statistics.confidence_sequence import share_at_any_time
from app.statistics.power import enough_groups, minimum_detectable_difference, standard_error_of_mean
from app.statistics.shares import newcombe, wilson

COUNTS = [(0, 1), (0, 20), (1, 20), (10, 20), (20, 20), (81, 263), (999, 1000)]


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_wilson_is_that_of_statsmodels(confidence):
    from statsmodels.stats.proportion import proportion_confint

    for successes, trials in COUNTS:
        theirs = proportion_confint(successes, trials, alpha=1 - confidence, method="wilson")
        assert wilson(successes, trials, confidence) == pytest.approx(theirs, abs=1e-12)


def test_newcombe_is_that_of_statsmodels():
    from statsmodels.stats.proportion import confint_proportions_2indep

    for first in COUNTS:
        for second in COUNTS:
            theirs = confint_proportions_2indep(*first, *second, method="newcomb", compare="diff", alpha=0.1)
            assert newcombe(*first, *second, 0.9) == pytest.approx(theirs, abs=1e-12)


def test_power_is_that_of_statsmodels():
    from statsmodels.stats.power import NormalIndPower, normal_power

    for difference, deviation, alpha, power in [(0.05, 0.5, 0.05, 0.8), (0.02, 0.1, 0.1, 0.9), (1.0, 3.0, 0.01, 0.5)]:
        groups = enough_groups(difference, deviation, 1, alpha, power)
        one_sample = {"ratio": 0, "alternative": "two-sided"}
        theirs = NormalIndPower().solve_power(difference / deviation, alpha=alpha, power=power, **one_sample)
        smallest = minimum_detectable_difference(standard_error_of_mean(deviation**2, groups), alpha, power)
        assert groups == pytest.approx(theirs, abs=1)
        assert smallest == pytest.approx(difference, rel=0.01)
        assert normal_power(smallest / deviation, groups, alpha, sigma=1.0) == pytest.approx(power, abs=1e-3)


def test_auroc_is_the_statistic_of_mann_and_whitney():
    from scipy.stats import mannwhitneyu

    generator = np.random.default_rng(0)
    score_N, desirable_N = generator.integers(0, 9, size=200), generator.random(200) < 0.3
    pairs = desirable_N.sum() * (~desirable_N).sum()

    [ours] = measures.auroc(score_N, desirable_N)(np.ones((1, 200)))

    assert ours == pytest.approx(mannwhitneyu(score_N[desirable_N], score_N[~desirable_N]).statistic / pairs)


@pytest.mark.parametrize(
    ("successes", "trials"), [(1, 20), (50, 100), (2.5, 40), (0, 30), (30, 30), (999_000, 1_000_000)]
)
def test_the_bounds_of_a_share_at_any_time_are_where_the_mixture_reaches_its_limit(successes, trials):
    from scipy.special import betaln

    low, high = share_at_any_time(successes, trials, alpha=0.01)

    failures = trials - successes
    assert low <= successes / trials <= high
    for bound in (low, high):
        if 0 < bound < 1:
            mixture = betaln(successes + 0.5, failures + 0.5) - betaln(0.5, 0.5)
            likelihood = successes * log(bound) + failures * log(1 - bound)
            assert mixture - likelihood == pytest.approx(log(100), abs=1e-4)
    assert (low == 0) == (successes == 0)
    assert (high == 1) == (failures == 0)
