"""What is prepared ahead comes in order, and a failure in its place."""

import threading

import pytest

from worker.training.data.prefetch import AHEAD, prepared_ahead


def test_everything_comes_in_order() -> None:
    assert list(prepared_ahead(lambda number: number * 2, range(20))) == list(range(0, 40, 2))


def test_a_failure_is_raised_in_its_place() -> None:
    prepared = prepared_ahead(lambda number: 10 // number, [5, 2, 0, 1])

    assert [next(prepared), next(prepared)] == [2, 5]
    with pytest.raises(ZeroDivisionError):
        next(prepared)


def test_no_more_is_prepared_than_is_soon_asked_for() -> None:
    begun: list[int] = []
    prepared = prepared_ahead(lambda number: begun.append(number) or number, range(100))

    assert next(prepared) == 0
    prepared.close()

    assert len(begun) <= AHEAD + 1


def test_it_happens_in_a_thread_of_its_own_that_ends_with_the_iterator() -> None:
    prepared = prepared_ahead(lambda _: threading.current_thread(), range(5))
    thread = next(prepared)
    prepared.close()

    assert thread is not threading.current_thread()
    assert not thread.is_alive()
