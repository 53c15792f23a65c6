"""Shares that are weighted by strata, and the distance between two mixes."""

import numpy as np
import pytest

from app.statistics.shares import wilson
from app.statistics.total_variation import noise_of_total_variation, total_variation
from app.statistics.weighted_shares import weighted_share


def test_one_stratum_has_wilsons_interval():
    assert weighted_share([81], [263], [1.0]) == pytest.approx((81 / 263, *wilson(81, 263)))


def test_a_stratum_without_trials_leaves_the_sum_unknown():
    assert weighted_share([1, 0], [2, 0], [0.5, 0.5]) is None


@pytest.mark.parametrize(
    ("shares", "trials", "weights"),
    [((0.8, 0.3), (200, 40), (0.3, 0.7)), ((0.95, 0.9, 0.5), (30, 100, 20), (0.6, 0.3, 0.1))],
)
def test_the_interval_covers_the_weighted_share_in_95_of_100_cases(shares, trials, weights):
    generator = np.random.default_rng(0)
    truth = float(np.dot(weights, shares))

    covered = [
        low <= truth <= high
        for drawn in generator.binomial(trials, shares, size=(2000, len(shares)))
        for _, low, high in [weighted_share(drawn.tolist(), trials, weights)]
    ]

    assert 0.935 < np.mean(covered) < 0.98


def test_the_total_variation_is_the_share_that_would_have_to_change():
    assert total_variation({"up": 3, "down": 1}, {"up": 1, "down": 3}) == 0.5
    assert total_variation({"up": 1}, {"down": 5}) == 1
    assert total_variation({"up": 1}, {}) is None
    assert noise_of_total_variation({}, {"up": 1}) is None


def test_samples_of_one_mix_lie_below_the_noise_in_95_of_100_cases():
    generator = np.random.default_rng(1)
    mix = {"up": 0.5, "down": 0.3, "edit": 0.2}

    def sample(size: int) -> dict[str, int]:
        return dict(zip(mix, generator.multinomial(size, list(mix.values())).tolist(), strict=True))

    pairs = [(sample(200), sample(60)) for _ in range(400)]
    below = [total_variation(*pair) <= noise_of_total_variation(*pair) for pair in pairs]

    assert 0.92 < np.mean(below) < 0.98
    assert total_variation({"up": 900, "down": 100}, {"up": 700, "down": 300}) > noise_of_total_variation(
        {"up": 900, "down": 100}, {"up": 700, "down": 300}
    )
