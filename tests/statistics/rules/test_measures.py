"""Measures of weighted rows against their definitions."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.statistics import measures

ROWS = st.lists(st.tuples(st.integers(0, 4), st.booleans(), st.integers(0, 3)), min_size=1, max_size=25)


@given(ROWS)
def test_auroc_counts_pairs_and_half_of_the_ties_with_any_weights(rows: list[tuple[int, bool, int]]) -> None:
    scores, labels, weights = (np.array(column) for column in zip(*rows, strict=True))
    won = total = 0.0
    for (up, good, a), (down, bad, b) in itertools.product(rows, rows):
        if good and not bad:
            total += a * b
            won += a * b * (1.0 if up > down else 0.5 if up == down else 0.0)

    [ours] = measures.auroc(scores, labels)(weights[None, :].astype(float))

    assert ours == pytest.approx(won / total) if total else np.isnan(ours)


def test_calibration_is_the_gap_between_probability_and_outcome() -> None:
    probability = np.array([0.05, 0.05, 0.95, 0.95])
    labels = np.array([0.0, 0.0, 1.0, 0.0])

    [ours] = measures.calibration_error(probability, labels)(np.ones((1, 4)))

    assert ours == pytest.approx((0.05 + 0.45) / 2)
