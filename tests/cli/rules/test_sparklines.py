"""Sparklines: numbers as a line of text."""

from math import inf, nan

from hypothesis import given
from hypothesis import strategies as st

from app.cli.sparklines import BLOCKS, sparkline


def test_numbers_stand_as_high_as_they_are():
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7], 20) == BLOCKS
    assert sparkline([3, 1], 20) == "█▁"
    assert sparkline([0, 0, 7, 7], 2) == "▁█"
    assert sparkline([nan, 0, inf, 1], 20) == "▁█"


def test_equal_numbers_lie_in_the_middle_and_none_give_nothing():
    assert sparkline([0.5, 0.5], 20) == "▅▅"
    assert sparkline([], 20) == sparkline([1.0], 0) == sparkline([1.0], -3) == ""


@given(st.lists(st.floats(-1e9, 1e9), min_size=1), st.integers(1, 40))
def test_a_line_fits_and_reaches_from_the_lowest_to_the_highest(values, width):
    line = sparkline(values, width)

    assert len(line) == min(width, len(values))
    assert set(line) == {"▅"} or {"▁", "█"} <= set(line)
