"""Intervals of shares and of their differences."""

import pytest

from app.statistics.shares import wilson


def test_the_wilson_interval_is_that_of_the_literature():
    """The source is Newcombe, Statistics in Medicine 17 (1998), table I: 81 of 263, and 0 of 20."""
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert wilson(0, 0) is None
