"""Confidence sequences cover the truth at all times, however often they are read, and get narrower as documented."""

from math import inf, log, nan, pi, sqrt

import numpy as np
import pytest

from app.statistics.confidence_sequence import (
    DifferenceSequence,
    MeanSequence,
    share_at_any_time,
    share_difference_at_any_time,
)

RUNS, STEPS = 1000, 1000

#: Distribution → its mean, and a function that draws.
DISTRIBUTIONS = {
    "1 in 20": (0.05, lambda generator, shape: (generator.random(shape) < 0.05).astype(float)),
    "1 in 2": (0.5, lambda generator, shape: (generator.random(shape) < 0.5).astype(float)),
    "skewed": (1 / 11, lambda generator, shape: generator.beta(0.5, 5, shape)),
}


def ever_missed(sequence: MeanSequence | DifferenceSequence, truth: float, steps: list[tuple]) -> float:
    """Returns the share of runs whose interval misses the truth after any step. A step has the values of all runs."""
    missed = np.zeros(RUNS, dtype=bool)
    for values in steps:
        sequence = sequence.after(*values)
        missed |= (sequence.low > truth) | (sequence.high < truth)
    return float(missed.mean())


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_the_sequence_of_a_mean_covers_it_at_all_times(name):
    mean, draw = DISTRIBUTIONS[name]
    values = draw(np.random.default_rng(0), (STEPS, RUNS))

    assert ever_missed(MeanSequence(alpha=0.05), mean, [(value,) for value in values]) <= 0.05


def test_an_ordinary_interval_that_is_read_after_every_value_misses_the_mean_many_times_as_often():
    values = np.random.default_rng(0).random((STEPS, RUNS)) < 0.5
    trials = np.arange(1, STEPS + 1)[:, None]
    share = values.cumsum(axis=0) / trials

    outside = np.abs(share - 0.5) > 1.96 * np.sqrt(share * (1 - share) / trials)

    assert outside[30:].any(axis=0).mean() > 0.25
    assert outside[-1].mean() == pytest.approx(0.05, abs=0.02)


@pytest.mark.parametrize("arms", [(1, 1), (9, 1)])
def test_the_sequence_of_a_difference_covers_it_at_all_times_even_if_both_arms_drift_together(arms):
    # given two arms that differ by 0.1 at all times, while both are better by day
    generator = np.random.default_rng(1)
    day = 0.5 + 0.3 * np.sin(np.arange(STEPS) / 100)

    def means(share: float, count: int) -> np.ndarray:
        return generator.binomial(count, share, RUNS) / count

    blocks = [(means(share + 0.05, arms[0]), means(share - 0.05, arms[1])) for share in day]

    assert ever_missed(DifferenceSequence(MeanSequence(alpha=0.05)), 0.1, blocks) <= 0.05


@pytest.mark.parametrize("share", [0.05, 0.5])
def test_the_sequence_of_a_share_covers_it_at_all_times(share):
    """Computes the probability of a miss up to each step, without a simulation."""
    missed, at = 0.0, np.array([1.0])  # at[s] = probability of s successes and no miss until now
    fewest = most = 0
    for trials in range(1, 401):
        at = np.append(at, 0.0) * (1 - share) + np.append(0.0, at) * share
        most += 1
        while share_at_any_time(fewest, trials)[1] < share:
            fewest += 1
        while share_at_any_time(most, trials)[0] > share:
            most -= 1
        missed += at[:fewest].sum() + at[most + 1 :].sum()
        at[:fewest] = at[most + 1 :] = 0

    assert missed + at.sum() == pytest.approx(1)
    assert 0.005 < missed <= 0.05


def test_the_sequence_of_a_difference_of_shares_covers_it_at_all_times():
    generator = np.random.default_rng(2)
    trials = 50
    first, second = ((generator.random((trials, 4000)) < share).cumsum(axis=0) for share in (0.4, 0.2))
    intervals = {
        (successes, count): share_at_any_time(successes, count, 0.025)
        for count in range(1, trials + 1)
        for successes in range(count + 1)
    }
    for counts in [(7, 20, 3, 50), (0, 1, 0, 0), (20, 20, 0, 20)]:
        (a, b), (c, d) = (share_at_any_time(*arm, 0.025) for arm in (counts[:2], counts[2:]))
        assert share_difference_at_any_time(*counts, alpha=0.05) == (a - d, b - c)

    missed = np.zeros(4000, dtype=bool)
    for count in range(1, trials + 1):
        table = np.array([intervals[successes, count] for successes in range(count + 1)])
        a, b = table[first[count - 1]], table[second[count - 1]]
        missed |= (a[:, 0] - b[:, 1] > 0.2) | (a[:, 1] - b[:, 0] < 0.2)

    assert missed.mean() <= 0.05


def test_the_sequence_of_a_mean_is_that_of_its_formulas():
    x = np.random.default_rng(3).beta(2, 3, 200)
    sequence = MeanSequence(alpha=0.1)
    for value in x:
        sequence = sequence.after(value)

    t = np.arange(1, 201)
    mean = np.append(0.5, (0.5 + np.cumsum(x)) / (t + 1))  # of t = 0, 1, …
    variance = np.append(0.25, (0.25 + np.cumsum((x - mean[1:]) ** 2)) / (t + 1))
    weight = np.minimum(np.sqrt(2 * log(2 / 0.1) / (variance[:-1] * t * np.log(1 + t))), 0.5)
    psi = 4 * (-np.log(1 - weight) - weight) / 4
    half = (log(2 / 0.1) + ((x - mean[:-1]) ** 2 * psi).sum()) / weight.sum()
    middle = (weight * x).sum() / weight.sum()
    assert (sequence.low, sequence.high) == pytest.approx((middle - half, middle + half))


def width_of_means(values: np.ndarray, at: tuple[int, ...]) -> list[float]:
    """Returns the mean width of the sequences, in columns of `values`, after these numbers of values."""
    sequence, widths = MeanSequence(), []
    for value in values:
        sequence = sequence.after(value)
        if sequence.count in at:
            widths.append(float(np.mean(sequence.high - sequence.low)))
    return widths


def test_the_width_for_a_mean_shrinks_like_the_root_of_log_t_over_t_up_to_log_log_t():
    values = (np.random.default_rng(4).random((4000, 20)) < 0.5).astype(float)

    before, after = width_of_means(values, (1000, 4000))

    rate = sqrt(log(4000) / 4000) / sqrt(log(1000) / 1000)
    assert rate < after / before < rate * log(log(4000)) / log(log(1000))


def test_the_width_for_a_mean_follows_the_spread_of_the_values():
    generator = np.random.default_rng(5)

    [wide] = width_of_means((generator.random((1000, 20)) < 1 / 11).astype(float), (1000,))
    [narrow] = width_of_means(generator.beta(0.5, 5, (1000, 20)), (1000,))

    low, high = share_at_any_time(1000 / 11, 1000)
    assert narrow < 0.5 * wide
    assert narrow < 0.5 * (high - low)


@pytest.mark.parametrize("share", [0.05, 0.5])
@pytest.mark.parametrize("trials", [1000, 100_000])
def test_the_width_for_a_share_shrinks_at_the_documented_rate(share, trials):
    low, high = share_at_any_time(share * trials, trials)

    half = sqrt(2 * share * (1 - share) * (log(20) + 0.5 * log(pi * trials / 2)) / trials)
    assert (high - low) / 2 == pytest.approx(half, rel=0.01)


def test_blocks_make_a_difference_narrower_than_the_counts_of_both_arms():
    generator = np.random.default_rng(6)
    first, second = generator.random((2, 1000)) < 0.5
    sequence = DifferenceSequence()
    for values in zip(first.astype(float), second.astype(float), strict=True):
        sequence = sequence.after(*values)

    low, high = share_difference_at_any_time(int(first.sum()), 1000, int(second.sum()), 1000)

    assert 1.2 < (high - low) / (sequence.high - sequence.low) < 1.6


def test_nothing_is_known_before_the_first_value():
    assert (MeanSequence().low, MeanSequence().high) == (0, 1)
    assert (DifferenceSequence().low, DifferenceSequence().high) == (-1, 1)
    assert share_at_any_time(0, 0) == (0, 1)
    assert share_difference_at_any_time(0, 0, 0, 0) == (-1, 1)


@pytest.mark.parametrize("value", [-0.1, 1.1, nan, inf, np.array([0.5, nan])])
def test_a_value_outside_0_and_1_is_refused(value):
    with pytest.raises(ValueError, match=r"expected values in \[0, 1\]"):
        MeanSequence().after(value)
    for values in [(value, 0.5), (0.5, value)]:
        with pytest.raises(ValueError, match=r"expected means in \[0, 1\]"):
            DifferenceSequence().after(*values)


@pytest.mark.parametrize(("successes", "trials"), [(-1, 5), (6, 5), (nan, 5), (1, 0)])
def test_impossible_counts_are_refused(successes, trials):
    with pytest.raises(ValueError, match="expected 0 <= successes <= trials"):
        share_at_any_time(successes, trials)


@pytest.mark.parametrize("alpha", [0, 1, -0.1, nan])
def test_an_impossible_error_rate_is_refused(alpha):
    with pytest.raises(ValueError, match="expected 0 < alpha < 1"):
        MeanSequence(alpha=alpha)
    with pytest.raises(ValueError, match="expected 0 < alpha < 1"):
        share_at_any_time(1, 2, alpha)


def test_a_tiny_rest_of_failures_leaves_a_bound():
    low, high = share_at_any_time(1e6 - 1e-6, 1_000_000)

    assert 0.9999 < low < high <= 1
