"""Intervals of shares and of their differences, against published figures."""

import pytest

from app.statistics.shares import newcombe, wilson


def test_the_wilson_interval_is_that_of_the_literature():
    """The source is Newcombe, Statistics in Medicine 17 (1998), table I: 81 of 263, and 0 of 20."""
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert wilson(0, 0) is None


def test_newcombes_interval_of_a_difference_is_that_of_the_literature():
    """The source is Newcombe, Statistics in Medicine 17 (1998), p. 873, method 10."""
    assert newcombe(56, 70, 48, 80) == pytest.approx((0.0524, 0.3339), abs=1e-4)
    assert newcombe(9, 10, 3, 10) == pytest.approx((0.1705, 0.8090), abs=1e-4)


def test_a_difference_from_an_arm_without_trials_is_unknown():
    assert newcombe(1, 2, 0, 0) is None
    assert newcombe(0, 0, 1, 2) is None
