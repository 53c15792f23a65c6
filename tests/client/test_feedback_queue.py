"""The feedback queue: what is put reaches the API once, and no fault reaches the product."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, use_span
from pydantic import ValidationError
from thumbwheel import FeedbackQueue, NotDelivered, QueueFull, Undelivered, feedback_context, last_completion_id, wire

CHAT = [{"role": "user", "content": "Where is it?"}]


def test_thumbs_and_completions_are_stored_with_the_time_at_which_they_were_put(client):
    with FeedbackQueue(raise_errors=True) as thumbs:
        completion_id = thumbs.complete(CHAT, "On its way.", sampling={"temperature": 0.5})
        event_id = thumbs.up(completion_id, "user-1", metadata={"page": 3})
        thumbs.feedback("msg-2", "user-1", wire.Edit(text="In Leeds."), prompt="Where?", completion="In York.")
        thumbs.event(wire.Event(completion_id="msg-3", actor="user-2", signal=wire.Thumbs(value="down")))
        assert thumbs.flush(20)
        figures = thumbs.figures

    assert (figures.stored, figures.waiting, figures.waiting_bytes) == (4, 0, 0)
    registered = client.completions.get(completion_id)
    assert (registered.prompt, registered.completion, registered.sampling) == (
        CHAT,
        "On its way.",
        {"temperature": 0.5},
    )
    by_completion = {event.completion_id: event for event in client.events.list()}
    assert set(by_completion) == {completion_id, "msg-2", "msg-3"}
    thumb = by_completion[completion_id]
    assert (thumb.event_id, thumb.actor, thumb.metadata) == (event_id, "user-1", {"page": 3})
    assert all(event.occurred_at < event.received_at for event in by_completion.values())


def test_an_event_that_was_stored_before_is_counted_as_replayed(client):
    event = wire.Event(
        event_id="e-1", completion_id="m", actor="u", signal=wire.Thumbs(value="up"), occurred_at="2026-11-01T00:00:00Z"
    )
    client.events.record(event)

    with FeedbackQueue() as thumbs:
        thumbs.event(event)
        assert thumbs.flush(20)

    assert (thumbs.figures.stored, thumbs.figures.replayed) == (0, 1)


def test_the_api_refuses_an_item_alone_and_the_product_hears_of_it(client):
    undelivered: list[Undelivered] = []
    with FeedbackQueue(on_error=undelivered.append) as thumbs:
        thumbs.up("msg-1", "user-1")
        faulty = thumbs.up("msg-2", "u" * 200)
        thumbs.complete("A prompt", [1], completion_id="msg-3")
        thumbs.up("msg-4", "user-1")
        assert thumbs.flush(20)

    assert {(item.kind, item.id, item.code) for item in undelivered} == {
        ("event", faulty, "invalid"),
        ("completion", "msg-3", "invalid"),
    }
    assert (thumbs.figures.stored, thumbs.figures.refused) == (2, 2)
    assert {event.completion_id for event in client.events.list()} == {"msg-1", "msg-4"}


def test_many_threads_and_tasks_put_at_once_and_each_event_is_stored_once(client):
    def request(number: int) -> str:
        return thumbs.up(f"msg-{number}", f"user-{number}")

    async def requests() -> list[str]:
        async def one(number: int) -> str:
            return request(number)

        return await asyncio.gather(*(one(number) for number in range(1000, 1200)))

    with FeedbackQueue(interval=0.01) as thumbs, ThreadPoolExecutor(20) as pool:
        ids = [*pool.map(request, range(600)), *asyncio.run(requests())]
        assert thumbs.flush(30)

    assert thumbs.figures.stored == len(set(ids)) == 800
    assert {event.event_id for event in client.events.list(limit="200")} == set(ids)


def test_a_failed_batch_is_sent_again_byte_for_byte(faulty):
    faulty.answers = [(503, "0"), (502, None)]

    with FeedbackQueue(faulty.url) as thumbs:
        ids = [thumbs.up(f"msg-{number}", "user-1") for number in range(3)]
        assert thumbs.flush(20)

    assert [[item["event_id"] for item in body] for body in faulty.bodies] == [ids] * 3
    assert all(body == faulty.bodies[0] for body in faulty.bodies)
    assert faulty.stored == ids


def test_a_batch_that_is_faulty_as_a_whole_is_sent_in_halves(faulty):
    faulty.most = 1

    with FeedbackQueue(faulty.url) as thumbs:
        ids = [thumbs.up(f"msg-{number}", "user-1") for number in range(5)]
        assert thumbs.flush(20)

    assert faulty.stored == ids


def test_completions_go_in_batches_in_their_order_and_a_failed_one_again(faulty):
    faulty.answers = [(503, "0")]

    with FeedbackQueue(faulty.url, interval=0.1) as thumbs:
        ids = [thumbs.complete("A prompt", f"Answer {number}") for number in range(20)]
        assert thumbs.flush(20)

    assert [[item["completion_id"] for item in body] for body in faulty.bodies] == [ids] * 2
    assert faulty.stored == ids
    assert thumbs.figures.stored == 20


def test_an_older_api_without_that_batch_gets_completions_one_by_one(faulty):
    faulty.older = True

    with FeedbackQueue(faulty.url) as thumbs:
        ids = [thumbs.complete("A prompt", f"Answer {number}") for number in range(3)]
        assert thumbs.flush(20)
        ids.append(thumbs.complete("A prompt", "Answer 3"))
        assert thumbs.flush(20)

    assert [len(body) for body in faulty.bodies] == [3, 1, 1, 1, 1]
    assert faulty.stored == ids
    assert faulty.completions[ids[3]] == {"prompt": "A prompt", "completion": "Answer 3"}


def test_a_key_that_the_api_refuses_is_told_and_not_tried_for_ever(faulty):
    faulty.answers = [(401, None)]
    undelivered: list[Undelivered] = []

    with FeedbackQueue(faulty.url, on_error=undelivered.append) as thumbs:
        thumbs.up("msg-1", "user-1")
        assert thumbs.flush(20)

    assert [(item.code, item.reason) for item in undelivered] == [("refused", "no")]
    assert len(faulty.bodies) == 1


@pytest.mark.parametrize(("when_full", "kept"), [("drop_newest", range(1, 5)), ("drop_oldest", range(8, 12))])
def test_a_full_queue_drops_what_the_product_chose_and_says_so_once(faulty, caplog, when_full, kept):
    faulty.open.clear()
    with FeedbackQueue(faulty.url, max_items=5, when_full=when_full, interval=0) as thumbs:
        thumbs.up("msg-0", "user-1", event_id="0")
        assert faulty.arrived.wait(20)
        for number in range(1, 12):
            thumbs.up(f"msg-{number}", "user-1", event_id=str(number))
        full = thumbs.figures
        faulty.open.set()
        assert thumbs.flush(20)

    assert (full.waiting, full.dropped) == (5, 7)
    assert faulty.stored == ["0", *map(str, kept)]
    [warning] = [message for message in caplog.messages if "is full" in message]
    assert warning.startswith("the feedback queue is full (5 items, ")


def test_the_bytes_of_what_waits_are_bounded_too(faulty):
    with FeedbackQueue(faulty.url, max_bytes=10_000) as thumbs:
        thumbs.complete("A prompt", "x" * 20_000)
        thumbs.complete("A prompt", "x" * 6_000, completion_id="msg-1")
        thumbs.complete("A prompt", "x" * 6_000)
        figures = thumbs.figures

    assert (figures.waiting, figures.dropped) == (1, 2)
    assert 6_000 < figures.waiting_bytes < 10_000
    assert faulty.stored == ["msg-1"]


def test_nothing_that_a_product_does_wrong_raises(faulty):
    undelivered: list[Undelivered] = []

    def failing(item: Undelivered) -> None:
        undelivered.append(item)
        raise RuntimeError("a fault of the product's own")

    with FeedbackQueue(faulty.url, on_error=failing) as thumbs:
        UUID(thumbs.up("msg-1", "user-1", metadata={"not JSON": object()}))
        UUID(thumbs.up("msg-1", "a lone surrogate \ud800"))
        thumbs.complete(CHAT, object())  # type: ignore[arg-type]
    thumbs.up("msg-1", "user-1")  # after the end

    assert [item.code for item in undelivered] == ["invalid"] * 3
    assert (thumbs.figures.refused, thumbs.figures.dropped) == (3, 1)


def test_a_queue_of_a_test_raises_what_is_wrong(faulty):
    faulty.answers = [(409, None)]
    with FeedbackQueue(faulty.url, raise_errors=True, max_items=1, interval=60) as thumbs:
        with pytest.raises(ValidationError, match="actor"):
            thumbs.up("msg-1")
        thumbs.up("msg-1", "user-1")
        with pytest.raises(QueueFull):
            thumbs.up("msg-1", "user-1")
        with pytest.raises(NotDelivered, match="no"):
            thumbs.flush(20)


def test_an_api_that_does_not_answer_holds_neither_flush_nor_close(faulty):
    faulty.open.clear()
    undelivered: list[Undelivered] = []
    thumbs = FeedbackQueue(faulty.url, on_error=undelivered.append)
    event_id = thumbs.up("msg-1", "user-1")
    completion_id = thumbs.complete("A prompt", "An answer")

    assert not thumbs.flush(0.05)
    assert thumbs.figures.waiting == 2
    assert not thumbs.close(0.05)

    assert {(item.id, item.code) for item in undelivered} == {(event_id, "closed"), (completion_id, "closed")}
    assert b"An answer" in {item.id: item.body for item in undelivered}[completion_id]
    assert thumbs.figures.lost == 2
    assert thumbs.close()
    faulty.open.set()
    for thread in threading.enumerate():
        if thread.name.startswith("thumbwheel"):
            thread.join(20)


def test_an_unreachable_api_is_no_error_until_the_queue_is_closed(faulty, caplog):
    thumbs = FeedbackQueue("http://127.0.0.1:1", interval=0)
    thumbs.up("msg-1", "user-1")

    assert not thumbs.flush(0.3)
    assert thumbs.figures.waiting == 1
    assert not thumbs.close(0)
    assert [message for message in caplog.messages if "takes no feedback" in message] == [
        "http://127.0.0.1:1 takes no feedback at the moment: 1 items wait"
    ]


def test_a_disabled_queue_sends_nothing_and_starts_no_thread(faulty, monkeypatch):
    monkeypatch.setenv("THUMBWHEEL_DISABLED", "1")
    before = threading.active_count()

    with FeedbackQueue(faulty.url) as thumbs:
        UUID(thumbs.up("msg-1", "user-1"))
        thumbs.complete("A prompt", "An answer")
        assert thumbs.flush()

    assert (faulty.bodies, threading.active_count()) == ([], before)


def test_the_context_gives_actor_conversation_and_trace_to_code_that_does_not_know_them(faulty):
    span = NonRecordingSpan(SpanContext(trace_id=0xABC, span_id=0xDEF, is_remote=False, trace_flags=TraceFlags(1)))

    async def handler() -> None:
        with feedback_context(actor="user-7", conversation_id="chat-1", metadata={"plan": "free"}), use_span(span):
            thumbs.complete("A prompt", "An answer", completion_id="msg-1")
            with feedback_context(metadata={"plan": "paid"}):
                await asyncio.create_task(vote())
        assert last_completion_id() == "msg-1"
        thumbs.up("msg-2", "user-8")

    async def vote() -> None:
        thumbs.up("msg-1", metadata={"page": 3})

    with FeedbackQueue(faulty.url) as thumbs:
        asyncio.run(handler())

    trace = {"trace_id": f"{0xABC:032x}", "span_id": f"{0xDEF:016x}"}
    by_actor = {item.get("actor"): item for body in faulty.bodies for item in body}
    assert by_actor["user-7"]["metadata"] == {"plan": "paid", **trace, "page": 3}
    assert by_actor["user-7"]["conversation_id"] == by_actor[None]["conversation_id"] == "chat-1"
    assert by_actor[None]["metadata"] == {"plan": "free", **trace}
    assert by_actor["user-8"].keys() == {"event_id", "completion_id", "actor", "signal", "occurred_at"}
