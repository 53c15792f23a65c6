"""Retries of the client against a real server that fails: which calls, for how long, and the final error."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from uuid import uuid4

import pytest
from thumbwheel import ApiError, Client, Unreachable, wire
from thumbwheel.errors import retry_after_seconds

from app import services

EVENT = wire.Event(completion_id="msg-1", actor="user-1", signal=wire.Thumbs(value="up"))
RECEIPT = b'{"event_id": "e", "status": "stored"}'
RUN_END = (
    b'id: 2-0\nevent: end\ndata: {"event": "end", "id": "2-0", "state": "failed", '
    b'"reason": "", "checkpoint_id": null}\n\n'
)
PROGRESS = (
    b'id: 1-0\nevent: progress\ndata: {"event": "progress", "id": "1-0", "state": "training", "paused": false, '
    b'"waiting": false, "phase_done": 1, "phase_total": 9, "eta_seconds": null, "tokens_per_second": null}\n\n'
)
STREAM = {"Content-Type": "text/event-stream"}
SNAPSHOT = {
    "id": str(uuid4()), "project": "acme", "sha256": "0" * 64, "watermark": 1, "created_at": "2026-11-01T00:00:00Z",
    "policy": None, "counts": {}, "files": {"card.md": hashlib.sha256(b"card").hexdigest()}, "redacted_at": None,
    "successor_id": None, "manifest": {},
}  # fmt: skip


@dataclass(frozen=True)
class Answer:
    """The answer of the server to one request. `cut` closes the connection after that number of bytes of the body."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None


HANG_UP = Answer(status=0)


@dataclass
class Failing:
    url: str
    answers: list[Answer]
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)


@contextmanager
def failing(*answers: Answer) -> Iterator[Failing]:
    """Serves these answers in turn and repeats the last one."""
    state = Failing("", list(answers))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            state.requests.append((self.command, self.path, dict(self.headers)))
            answer = state.answers.pop(0) if len(state.answers) > 1 else state.answers[0]
            self.close_connection = True
            if answer is HANG_UP:
                return
            self.send_response(answer.status)
            for name, value in {
                "Content-Length": str(len(answer.body)),
                "Connection": "close",
                **answer.headers,
            }.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body[: answer.cut])

        do_POST = do_PUT = do_DELETE = do_PATCH = do_GET

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        state.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def pauses() -> list[float]:
    """The pauses of a client, in seconds."""
    return []


@pytest.mark.parametrize(
    "failure",
    [*(Answer(status) for status in (500, 502, 503, 504, 599, 429, 408)), HANG_UP, Answer(200, RECEIPT, cut=9)],
    ids=lambda answer: f"{answer.status}" + " cut" * (answer.cut is not None),
)
def test_an_event_is_sent_again_after_every_5xx_and_every_broken_connection(failure, pauses):
    with failing(failure, failure, Answer(201, RECEIPT)) as server, Client(server.url, sleep=pauses.append) as client:
        receipt = client.events.record(EVENT)

    assert receipt.status == "stored"
    assert len(server.requests) == 3
    assert len(pauses) == 2


@pytest.mark.parametrize("failure", [Answer(500), Answer(502), HANG_UP], ids=["500", "502", "cut"])
def test_reads_changes_and_calls_with_a_key_are_repeated(failure, pauses):
    calls = {
        "GET": lambda client: list(client.projects.list()),
        "PUT": lambda client: client.completions.register("m", wire.Completion(prompt="a", completion="b")),
        "DELETE": lambda client: client.erasures.start("ann"),
        "POST": lambda client: client.runs.start(),
    }
    for method, call in calls.items():
        with (
            failing(failure, Answer(404)) as server,
            Client(server.url, sleep=pauses.append) as client,
            pytest.raises(ApiError),
        ):
            call(client)
        assert [request[0] for request in server.requests] == [method, method]
        keys = {request[2].get("Idempotency-Key") for request in server.requests}
        assert len(keys) == 1


@pytest.mark.parametrize("failure", [Answer(500), Answer(503, headers={"Retry-After": "1"}), HANG_UP])
def test_what_may_have_been_done_and_has_no_key_is_sent_once(failure, pauses):
    with (
        failing(failure) as server,
        Client(server.url, sleep=pauses.append) as client,
        pytest.raises((ApiError, Unreachable)),
    ):
        client.projects.create(wire.NewProject(project="acme", base_model="/models/base", suites=[]))

    assert len(server.requests) == 1
    assert pauses == []


def test_what_was_never_sent_is_sent_again_whatever_it_is(pauses):
    with (
        Client(f"http://127.0.0.1:{services.free_port()}", tries=3, sleep=pauses.append) as client,
        pytest.raises(Unreachable, match="Tried 3 times"),
    ):
        client.projects.create(wire.NewProject(project="acme", base_model="/models/base", suites=[]))

    assert len(pauses) == 2


@pytest.mark.parametrize("status", [400, 401, 404, 409, 410, 413, 422])
def test_a_refusal_is_not_repeated(status):
    with failing(Answer(status)) as server, Client(server.url) as client, pytest.raises(ApiError) as refused:
        client.events.record(EVENT)

    assert len(server.requests) == 1
    assert "Tried" not in refused.value.message


def test_pauses_grow_to_a_limit_and_differ_between_clients(pauses):
    others: list[float] = []
    with failing(Answer(500)) as server:
        for waited in (pauses, others):
            with Client(server.url, tries=9, sleep=waited.append) as client, pytest.raises(ApiError):
                client.events.record(EVENT)

    for waited in (pauses, others):
        limits = [min(5.0, 0.2 * 2**number) for number in range(8)]
        assert all(limit / 2 <= pause <= limit for pause, limit in zip(waited, limits, strict=True))
    assert pauses != others


def test_retry_after_is_waited_for_as_seconds_and_as_a_date(pauses):
    now = datetime(2026, 1, 1, tzinfo=UTC)
    dated = {"Retry-After": format_datetime(now + timedelta(seconds=7), usegmt=True)}
    answers = [Answer(503, headers={"Retry-After": "3"}), Answer(429, headers=dated), Answer(201, RECEIPT)]

    assert retry_after_seconds({**dated, "Date": format_datetime(now, usegmt=True)}) == 7
    assert retry_after_seconds({"Retry-After": "soon"}) is None
    with failing(*answers) as server, Client(server.url, sleep=pauses.append) as client:
        client.events.record(EVENT)

    assert 3 < pauses[0] <= 3.2
    assert 0 < pauses[1] < 8  # the date is later or earlier than the clock of that server


def test_retry_after_is_waited_for_by_reads_keyed_calls_streams_and_downloads(pauses, tmp_path):
    busy = Answer(503, headers={"Retry-After": "3"})
    page = Answer(200, b'{"items": [], "next_cursor": null}')
    snapshot = Answer(200, json.dumps(SNAPSHOT).encode())
    calls = [
        (lambda client: list(client.runs.list()), [busy, page]),
        (lambda client: client.runs.start(), [busy, Answer(404)]),
        (lambda client: list(client.runs.follow(uuid4())), [busy, Answer(200, RUN_END, STREAM)]),
        (lambda client: client.snapshots.pull(uuid4(), tmp_path), [snapshot, busy, Answer(200, b"card")]),
    ]
    for call, answers in calls:
        with (
            failing(*answers) as server,
            Client(server.url, sleep=pauses.append) as client,
            suppress(ApiError),
        ):
            call(client)
        assert len(server.requests) == len(answers)

    assert len(pauses) == len(calls)
    assert all(3 < pause <= 3.2 for pause in pauses)
    assert (tmp_path / "card.md").read_bytes() == b"card"


def test_a_wait_beyond_the_total_time_ends_the_call_and_is_named(pauses):
    with (
        failing(Answer(503, headers={"Retry-After": "3600"})) as server,
        Client(server.url, retry_seconds=60, sleep=pauses.append) as client,
        pytest.raises(ApiError, match=r"Tried once .* asks to wait 3600 s"),
    ):
        client.events.record(EVENT)

    assert pauses == []
    assert len(server.requests) == 1


def test_the_last_error_says_how_often_it_was_tried(pauses):
    with failing(HANG_UP) as server, Client(server.url, tries=4, sleep=pauses.append) as client:
        with pytest.raises(Unreachable, match=r"Tried 4 times in \d+\.\d s\.") as away:
            list(client.projects.list())
        server.answers[:] = [Answer(503)]
        with pytest.raises(ApiError, match=r"answered 503 .* Tried 4 times in \d+\.\d s\.") as refused:
            list(client.projects.list())

    assert (away.value.attempts, refused.value.attempts) == (4, 4)


def test_a_url_that_no_connection_can_be_made_to_is_an_error_at_once(pauses):
    with Client("ftp://127.0.0.1", sleep=pauses.append) as client, pytest.raises(Unreachable, match="Tried once"):
        list(client.projects.list())

    assert pauses == []


def test_a_stream_that_is_cut_goes_on_behind_its_last_event(pauses):
    half = b'id: 2-0\nevent: end\ndata: {"event": "end"'
    answers = [
        Answer(502), Answer(200, PROGRESS + half + b"}\n\n", STREAM, cut=len(PROGRESS + half)), HANG_UP, Answer(500),
        Answer(200, RUN_END, STREAM),
    ]  # fmt: skip
    with failing(*answers) as server, Client(server.url, tries=3, sleep=pauses.append) as client:
        events = [event.event for event in client.runs.follow(uuid4())]

    assert events == ["progress", "end"]
    assert [request[2].get("Last-Event-ID") for request in server.requests] == [None, None, "1-0", "1-0", "1-0"]


def test_a_stream_is_opened_again_after_pauses_that_differ_between_clients(pauses):
    answers = [*[Answer(200, PROGRESS, STREAM)] * 20, Answer(200, RUN_END, STREAM)]
    with failing(*answers) as server, Client(server.url, sleep=pauses.append) as client:
        events = [event.event for event in client.runs.follow(uuid4())]

    assert events == ["progress"] * 20 + ["end"]
    assert all(0.1 <= pause <= 0.2 for pause in pauses)
    assert len(set(pauses)) == 20


@pytest.mark.parametrize("newline", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
def test_a_stream_may_hold_comments_unknown_kinds_and_line_separators_inside_of_texts(newline):
    reason = "first\u2028second\x85third"
    body = (
        b"retry: 2000\n\n: nothing new\n\nid: 1-0\nevent: from-a-newer-server\ndata: {}\n\n"
        + RUN_END.replace(b'"reason": ""', b'"reason":\ndata: ' + json.dumps(reason, ensure_ascii=False).encode())
    ).replace(b"\n", newline)
    with failing(Answer(200, body, STREAM)) as server, Client(server.url) as client:
        [event] = client.runs.follow(uuid4())

    assert isinstance(event, wire.RunEndEvent)
    assert event.reason == reason


@pytest.mark.parametrize(
    "answer",
    [Answer(200, b": nothing new\n\n", STREAM), Answer(200, b"<html></html>", {"Content-Type": "text/html"})],
    ids=["comments", "a page"],
)
def test_a_stream_that_never_brings_an_event_ends_with_an_error(answer, pauses):
    with (
        failing(answer) as server,
        Client(server.url, tries=3, sleep=pauses.append) as client,
        pytest.raises(Unreachable, match="Tried 3 times"),
    ):
        list(client.runs.follow(uuid4()))

    assert len(server.requests) == 3
