"""The pace of imports beside the ordinary ingest."""

from app.feedback.import_jobs.pace import LEAST_EVENTS, LONGEST_PAUSE_SECONDS, MOST_EVENTS, Pace


def test_quick_transactions_grow_and_are_not_followed_by_pauses():
    pace = Pace()

    assert [pace.pause_after(0.01) for _ in range(5)] == [0.0] * 5
    assert pace.events == MOST_EVENTS


def test_slow_transactions_shrink_and_are_followed_by_pauses_of_their_length():
    pace = Pace()

    assert pace.pause_after(0.2) == 0.2
    pauses = [pace.pause_after(0.6) for _ in range(9)] + [pace.pause_after(30)]

    assert pauses == [0.6] * 9 + [LONGEST_PAUSE_SECONDS]
    assert pace.events == LEAST_EVENTS
