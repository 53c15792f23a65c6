"""The stream of a run's events: each is sent once, in order, and a client may resume after any of them."""

import json
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import islice
from urllib.parse import urlsplit
from uuid import UUID

import httpx
import pytest
from httpx_sse import EventSource
from thumbwheel import Client, wire
from thumbwheel.wire.run_events import AnyRunEvent, RunMetricsEvent, RunProgressEvent, RunTransitionEvent

from app import services
from app.access import service as access
from app.database import engine, new_id, transaction
from app.runs.leases import service as leases
from app.runs.leases.lease import Lease
from app.runs.states import RunState
from app.runs.stream import streams
from app.runs.stream.shutdown import called_on_shutdown
from tests.desk import DESK, advance, claim, execute, make_project, request, vote
from tests.served import served


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(streams, "LOOK_SECONDS", 0.02)


@pytest.fixture
def key(database) -> str:
    make_project()
    vote()
    with transaction() as session:
        made = access.create_key(session, wire.NewKey(name="t", scopes=["runs:read"], project=DESK), within=None)
    return made.secret


@pytest.fixture
def training(key) -> Lease:
    """The lease of a run that is in training."""
    lease = claim(request().id).lease
    advance(lease, RunState.REFERENCING, RunState.TRAINING)
    return lease


def report(lease: Lease, *steps: int, loss: float = 0.5, warnings: list[str] | None = None) -> None:
    lines = [{"step": step, "loss": loss, "tokens_per_second": 1000.0 + step} for step in steps]
    news = leases.Report(done=max(steps), total=9, eta_seconds=4.0, metrics=lines, warnings=warnings)
    with transaction() as session:
        leases.report(session, lease, news)


def fail(lease: Lease) -> None:
    with transaction() as session:
        leases.fail(session, lease, "the test is over")


def steps(events: list[AnyRunEvent]) -> list[tuple[int, float]]:
    return [(event.step, event.values["loss"]) for event in events if isinstance(event, RunMetricsEvent)]


def raw(url: str, key: str, run_id: UUID, **how: str) -> httpx.Response:
    return httpx.get(f"{url}/v1/runs/{run_id}/events", params=how, headers={"Authorization": f"Bearer {key}"})


@pytest.fixture
def url(key) -> Iterator[str]:
    with served() as at:
        yield at


@pytest.fixture
def client(url, key) -> Iterator[Client]:
    with Client(url, key) as client:
        yield client


def test_a_stream_tells_all_that_has_happened_in_its_order_and_closes_with_the_end(url, key, training):
    report(training, 1, 2, warnings=["lower the learning rate"])
    fail(training)

    answer = raw(url, key, training.run_id)

    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["x-accel-buffering"] == "no"
    assert "no-cache" in answer.headers["cache-control"]
    assert answer.text.startswith("retry: 2000\n\n")
    messages = [message for message in EventSource(answer).iter_sse() if message.data]
    changes = ["transition"] * 4
    assert [message.event for message in messages] == [
        *changes, "metrics", "metrics", "transition", "warning", "progress", "end",
    ]  # fmt: skip
    assert [json.loads(frame.data)["kind"] for frame in messages if frame.event == "transition"] == [
        "requested", "claimed", "moved", "moved", "ended",
    ]  # fmt: skip
    assert '"to_state":"failed"' in messages[6].data
    assert '"reason":"the test is over"' in messages[-1].data


def test_who_comes_back_gets_what_they_missed_and_steps_that_were_taken_again_though_the_server_is_another_one(
    key, training
):
    report(training, 1, 2, 3)
    with served() as url, Client(url, key) as client, closing(client.runs.follow(training.run_id)) as stream:
        known = list(islice(stream, 7))  # queued, snapshotting, referencing, training; three steps
    assert steps(known) == [(1, 0.5), (2, 0.5), (3, 0.5)]

    # The worker dies; the next one continues from the state after step 1 and reports its steps.
    again = claim_again(training)
    report(again, 1)
    report(again, 2, 3, 4, loss=0.4)
    fail(again)

    with served() as url, Client(url, key) as client:
        missed = list(client.runs.follow(training.run_id, last_event_id=known[-1].id))
        assert steps(missed) == [(2, 0.4), (3, 0.4), (4, 0.4)]
        changes = [event for event in missed if isinstance(event, RunTransitionEvent)]
        assert [(change.kind, change.attempt) for change in changes] == [("lost", 1), ("claimed", 2), ("ended", 2)]
        assert changes[-1].to_state == "failed"
        assert {event.id for event in known}.isdisjoint(event.id for event in missed)
        # A browser that resumes after the last event gets a status that stops it from reconnecting.
        assert raw(url, key, training.run_id, last_event_id=missed[-1].id).status_code == 204


def claim_again(lease: Lease) -> Lease:
    with transaction() as session:
        leases.lose(session, lease, "the worker died")
    return claim(lease.run_id, "worker 2").lease


def test_news_arrives_while_the_stream_is_open_and_an_idle_stream_holds_no_connection(
    client, url, key, training, monkeypatch
):
    monkeypatch.setattr(streams, "SILENT_SECONDS", 0.05)
    stream = client.runs.follow(training.run_id, history=False)
    first = next(stream)
    assert isinstance(first, RunProgressEvent)
    assert (first.state, first.phase_done, first.tokens_per_second) == ("training", 0, None)

    report(training, 1)

    assert isinstance(next(stream), RunMetricsEvent)
    now = next(stream)
    assert isinstance(now, RunProgressEvent)
    assert (now.phase_done, now.phase_total, now.eta_seconds, now.tokens_per_second) == (1, 9, 4.0, 1001.0)
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.stream("GET", f"{url}/v1/runs/{training.run_id}/events", headers=headers) as silent:
        assert any(": nothing new" in line for line in silent.iter_lines())
    assert services.wait_until(lambda: engine().pool.checkedout() == 0, 120)
    fail(training)
    assert [event.event for event in stream] == ["transition", "progress", "end"]


def test_a_server_that_stops_ends_its_streams_and_the_client_goes_on_at_the_next_one(key, training):
    events: list[AnyRunEvent] = []

    def follow() -> None:
        with Client(url, key, tries=20) as client:
            for event in client.runs.follow(training.run_id):
                events.append(event)

    with ThreadPoolExecutor(1) as pool:
        with served() as url:
            following = pool.submit(follow)
            report(training, 1)
            assert services.wait_until(lambda: events, 120)
        report(training, 2)
        with served(urlsplit(url).port):
            report(training, 3)
            fail(training)
            following.result(30)

    assert steps(events) == [(1, 0.5), (2, 0.5), (3, 0.5)]
    assert [event.to_state for event in events if isinstance(event, RunTransitionEvent)][-1] == "failed"
    assert len({event.id for event in events if isinstance(event, RunTransitionEvent)}) == 5
    assert events[-1].event == "end"


def test_a_signal_calls_the_shutdown_hook_and_then_the_earlier_handler():
    heard = []
    before = signal.signal(signal.SIGTERM, lambda *_: heard.append("server"))
    try:
        with called_on_shutdown(lambda: heard.append("streams")):
            os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)

    assert heard == ["streams", "server", "server"]


def test_an_unknown_run_another_project_s_run_and_an_id_of_no_event_are_turned_away(url, key, training):
    make_project("other")
    vote(project="other")
    theirs = request("other").id

    for unknown in (new_id(), theirs):
        answer = raw(url, key, unknown)
        assert (answer.status_code, answer.json()["code"]) == (404, "run_not_found")
    wrong = raw(url, key, training.run_id, last_event_id="9" * 30)
    assert (wrong.status_code, wrong.json()["code"]) == (422, "invalid_event_id")
    assert raw(url, "tw_unknown", training.run_id).status_code == 401


def test_many_steps_are_thinned_evenly_with_the_ends_and_the_measurements_of_drift(client, training):
    execute(
        "INSERT INTO run_metrics (run_id, step, values) SELECT :id, step, jsonb_build_object('step', step, "
        "'kl_nats_per_token', CASE WHEN step = 7777 THEN 0.5 END) FROM generate_series(1, 20000) AS step",
        id=training.run_id,
    )

    kept = [line["step"] for line in client.runs.metrics(training.run_id).steps]

    assert kept == sorted({*range(1, 20_001, 20), 7_777, 20_000})
