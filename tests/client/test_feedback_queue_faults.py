"""The feedback queue: a fault of one item, of a proxy or of the product stays where it is."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import uuid4

import pytest
from thumbwheel import Client, FeedbackQueue, Undelivered, wire

from app.services import wait_until


def test_an_id_that_fits_into_no_url_is_refused_alone(faulty):
    undelivered: list[Undelivered] = []
    other: Any = uuid4()  # products have ids of other types
    faulty.open.clear()

    with FeedbackQueue(faulty.url, interval=0, on_error=undelivered.append) as thumbs:
        thumbs.complete("Where?", "Here.", completion_id="first")
        assert faulty.arrived.wait(20)
        for completion_id in (other, "a lone surrogate \ud800", "last"):
            thumbs.complete("Where?", "Here.", completion_id=completion_id)
        faulty.open.set()
        assert thumbs.flush(20)

    assert faulty.stored == ["first", str(other), "last"]
    assert [item.code for item in undelivered] == ["invalid"]


def test_events_above_the_limit_of_their_actor_are_sent_again_later_and_hold_up_nobody(faulty):
    faulty.limited = ["busy"]

    with FeedbackQueue(faulty.url, interval=0.01) as thumbs:
        ids = [thumbs.up("msg-1", actor) for actor in ("busy", "user-1", "user-2")]
        assert thumbs.flush(20)
        figures = thumbs.figures

    assert faulty.stored == [*ids[1:], ids[0]]
    assert (figures.stored, figures.refused, figures.waiting) == (3, 0, 0)


@pytest.mark.parametrize("seconds", ["9" * 400, "9" * 14])
def test_a_retry_after_that_no_clock_can_count_loses_nothing(faulty, seconds):
    faulty.answers = [(503, seconds)]

    with FeedbackQueue(faulty.url, interval=0) as thumbs:
        event_id = thumbs.up("msg-1", "user-1")
        assert not thumbs.flush(0.1)
        assert thumbs.figures.waiting == 1
        thumbs.close()

    assert faulty.stored == [event_id]


def test_an_event_of_another_type_and_an_iterator_are_told_and_left_as_they_are(faulty):
    undelivered: list[Undelivered] = []
    pieces = iter(["On its ", "way."])
    wrong: Any = {"completion_id": "msg-1"}

    with FeedbackQueue(faulty.url, on_error=undelivered.append) as thumbs:

        @thumbs.completion()
        def answer(question: Any) -> Iterator[str]:
            return pieces

        thumbs.event(wrong)
        assert "".join(answer(question for question in ())) == "On its way."

    reasons = [item.reason for item in undelivered]
    assert reasons[0] == "expected a wire.Event, got dict"
    assert "an iterator can be read only once" in reasons[1]
    assert faulty.bodies == []


def test_an_on_error_that_exits_does_not_end_the_queue(faulty):
    def exits(item: Undelivered) -> None:
        raise SystemExit(item.reason)

    faulty.answers = [(401, None)]
    with FeedbackQueue(faulty.url, on_error=exits, interval=0) as thumbs:
        thumbs.up("msg-1", "user-1")
        assert thumbs.flush(20)
        event_id = thumbs.up("msg-1", "user-1")
        assert thumbs.flush(20)

    assert faulty.stored == [event_id]


def test_an_on_error_that_closes_the_queue_sends_what_waits_first(faulty):
    faulty.answers = [(401, None)]
    faulty.open.clear()

    def closes(item: Undelivered) -> None:
        thumbs.close()

    thumbs = FeedbackQueue(faulty.url, on_error=closes, interval=0)
    thumbs.up("msg-1", "user-1")
    assert faulty.arrived.wait(20)
    event_id = thumbs.up("msg-2", "user-1")
    faulty.open.set()
    assert thumbs.flush(20) or thumbs.close()

    assert wait_until(lambda: faulty.stored == [event_id], 20)


def test_settings_that_cannot_work_are_refused_at_once(faulty):
    wrong: Any = "drop_new"
    with pytest.raises(ValueError, match="when_full: expected drop_newest or drop_oldest, got 'drop_new'"):
        FeedbackQueue(faulty.url, when_full=wrong)
    with pytest.raises(ValueError, match="api_key: "):
        Client(api_key="tw_…")  # as in the documentation


def test_the_end_of_a_line_is_no_part_of_a_key(faulty):
    with FeedbackQueue(faulty.url, api_key="tw_from_a_file\n") as thumbs:
        event_id = thumbs.up("msg-1", "user-1")

    assert faulty.stored == [event_id]


def test_a_decorated_generator_keeps_its_value_and_is_closed_with_its_wrapper(faulty):
    ends: list[str] = []

    with FeedbackQueue(faulty.url) as thumbs:

        @thumbs.completion()
        def pieces(question: str) -> Any:
            yield "On its way."
            return wire.Thumbs(value="up")

        @thumbs.completion()
        async def asynchronous_pieces(question: str) -> AsyncIterator[str]:
            try:
                yield "On its "
                yield "way."
            finally:
                ends.append("closed")

        def delegating() -> Any:
            value = yield from pieces("Where?")
            assert value == wire.Thumbs(value="up")

        async def stops_early() -> None:
            written: Any = asynchronous_pieces("Where?")
            await anext(written)
            await written.aclose()
            ends.append("stopped")

        assert list(delegating()) == ["On its way."]
        asyncio.run(stops_early())

    assert ends == ["closed", "stopped"]
    assert sorted(item["completion"] for item in faulty.completions.values()) == ["On its ", "On its way."]
