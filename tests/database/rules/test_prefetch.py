"""Prefetched items arrive in order, and an error arrives in the place of its item."""

import threading

import pytest

from app.prefetch import ahead, prepared_ahead


def test_everything_comes_in_order() -> None:
    assert list(prepared_ahead(lambda number: number * 2, range(20), depth=2)) == list(range(0, 40, 2))


def test_a_failure_is_raised_in_its_place() -> None:
    prepared = prepared_ahead(lambda number: 10 // number, [5, 2, 0, 1], depth=2)

    assert [next(prepared), next(prepared)] == [2, 5]
    with pytest.raises(ZeroDivisionError):
        next(prepared)


def test_no_more_is_prepared_than_is_soon_needed() -> None:
    begun: list[int] = []
    prepared = prepared_ahead(lambda number: begun.append(number) or number, range(100), depth=3)

    assert next(prepared) == 0
    prepared.close()

    assert len(begun) <= 4


def test_fetched_items_come_in_order_and_a_failure_in_its_place() -> None:
    fetched = ahead(10 // number for number in (5, 2, 0, 1))

    assert list(ahead(range(20))) == list(range(20))
    assert list(ahead([])) == []
    assert [next(fetched), next(fetched)] == [2, 5]
    with pytest.raises(ZeroDivisionError):
        next(fetched)


def test_it_happens_in_a_thread_of_its_own_that_ends_with_the_iterator() -> None:
    prepared = prepared_ahead(lambda _: threading.current_thread(), range(5), depth=2)
    thread = next(prepared)
    prepared.close()

    assert thread is not threading.current_thread()
    assert not thread.is_alive()
