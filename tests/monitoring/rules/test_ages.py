"""Ages of events as quantiles, and how well an objective for them is kept."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from app.monitoring.ages import SHARES, Ages, attainment

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
HOUR = 3600.0


def aged(hours: list[float], at: datetime = NOW) -> Ages:
    quantiles = np.quantile(np.array(hours) * HOUR, SHARES).tolist() if hours else None
    return Ages(at, len(hours), quantiles)


def test_events_are_counted_by_age_to_a_hundredth():
    ages = aged([float(number) for number in range(1000)])

    assert ages.between(0, 500 * HOUR) == pytest.approx(500, abs=10)
    assert ages.between(250 * HOUR, 500 * HOUR) == pytest.approx(250, abs=10)
    assert ages.between(2000 * HOUR, 3000 * HOUR) == 0
    assert (ages.quantile(0.5), ages.quantile(1.0)) == (pytest.approx(499.5 * HOUR), 999 * HOUR)


def test_without_events_nothing_is_due_and_there_is_no_age():
    assert attainment([], None, 0.5, 24, NOW) == attainment([aged([])], aged([]), 0.5, 24, NOW)
    assert attainment([], None, 0.5, 24, NOW).burn is None
    assert aged([]).quantile(0.5) is None


def test_an_objective_that_is_just_kept_burns_at_1_and_late_events_burn_faster():
    week_ago = NOW - timedelta(days=7)
    half_late = aged([1.0] * 500 + [30.0] * 500, week_ago)
    all_late = aged([30.0] * 1000, week_ago)

    assert attainment([half_late], None, 0.5, 24, NOW).burn == pytest.approx(1, abs=0.05)
    assert attainment([half_late], None, 0.9, 24, NOW).burn == pytest.approx(5, abs=0.2)
    assert attainment([all_late], None, 0.5, 24, NOW).burn == 2
    assert attainment([aged([1.0] * 1000, week_ago)], None, 0.5, 24, NOW).burn == 0


def test_waiting_events_count_as_late_once_they_are_due():
    fresh, old = aged([1.0] * 100), aged([25.0] * 100)

    assert attainment([], fresh, 0.5, 24, NOW).due == 0
    assert attainment([], old, 0.5, 24, NOW) == attainment([], aged([25.0] * 100), 0.5, 24, NOW)
    assert attainment([], old, 0.5, 24, NOW).in_time == 0
    assert attainment([], fresh, 0.5, 24, NOW + timedelta(hours=24)).due == 100


def test_events_count_for_thirty_days_after_they_became_due():
    release = NOW - timedelta(days=31)
    ages = aged([1.0] * 100, release)  # due 23 hours after the release

    assert attainment([ages], None, 0.5, 24, NOW).due == 0
    assert attainment([ages], None, 0.5, 24, NOW - timedelta(days=1)).due == 100
    assert attainment([ages], None, 0.5, 24, release).due == 0
