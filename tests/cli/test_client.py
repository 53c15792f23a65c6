"""The Python client: the requests that it repeats, and its errors when it gives up."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import uuid4

import pytest
from thumbwheel import ApiError, Client, ClientError, Damaged, Unreachable, wire

from app import services

RECEIPT = {"event_id": "e", "status": "stored"}
PROBLEM = {"code": "database_unavailable", "detail": "Postgres does not answer: try again in a moment."}
EVENT = wire.Event(completion_id="msg-1", actor="user-1", signal=wire.Thumbs(value="up"))


def at_once(_seconds: float) -> None:
    """Replaces the pause between two attempts."""


@contextmanager
def answering(
    *answers: tuple[int, Any] | None, keys: list[str | None] | None = None
) -> Iterator[tuple[str, list[Any]]]:
    """Serves these answers in turn and closes the connection for None. Yields the URL and the list of received bodies.

    keys  a list to which the Idempotency-Key of each request is added
    """
    left, bodies = list(answers), []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            bodies.append(json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"null"))
            if keys is not None:
                keys.append(self.headers.get("Idempotency-Key"))
            answer = left.pop(0)
            if answer is None:
                self.close_connection = True
                return
            status, document = answer
            content = document if isinstance(document, bytes) else json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", bodies
        finally:
            server.shutdown()
            thread.join()


def test_an_event_is_sent_again_with_the_same_id_until_somebody_stores_it():
    with answering(None, (503, PROBLEM), (201, RECEIPT)) as (url, bodies), Client(url, sleep=at_once) as client:
        receipt = client.events.record(EVENT)

    assert receipt.status == "stored"
    assert len(bodies) == 3
    assert len({body["event_id"] for body in bodies}) == 1
    assert bodies[0]["event_id"]


def test_a_run_is_requested_again_with_the_same_key_until_a_server_answers():
    in_flight = {"code": "request_in_flight", "detail": "A request with this Idempotency-Key is being worked on."}
    active = {"code": "run_active", "detail": "Run 1 is active."}
    keys: list[str | None] = []

    answers = (None, (503, PROBLEM), (409, in_flight), (409, active))
    with (
        answering(*answers, keys=keys) as (url, bodies),
        Client(url, sleep=at_once) as client,
        pytest.raises(ApiError) as refused,
    ):
        client.runs.start()

    assert (refused.value.status, refused.value.code) == (409, "run_active")
    assert (len(bodies), len(set(keys))) == (4, 1)
    assert keys[0]

    with answering((409, active), keys=keys) as (url, _), Client(url, sleep=at_once) as client, pytest.raises(ApiError):
        client.runs.start()

    assert keys[-1] != keys[0]


def test_giving_up_says_where_nobody_answered():
    url = f"http://127.0.0.1:{services.free_port()}"

    with Client(url, tries=2, sleep=at_once) as client, pytest.raises(Unreachable, match=url):
        client.events.record(EVENT)


def test_an_answer_that_is_not_ours_is_an_error_with_its_status():
    with (
        answering((502, b"<html>bad gateway</html>")) as (url, _),
        Client(url, tries=1) as client,
        pytest.raises(ApiError, match="answered 502") as raised,
    ):
        client.projects.get("acme")

    assert raised.value.code == "http_502"


def checkpoint(files: dict[str, str]) -> dict[str, Any]:
    return {
        "id": str(uuid4()),
        "project": "acme",
        "kind": "adapter",
        "base_model": "/models/base",
        "created_at": "2026-11-01T00:00:00Z",
        "run_id": None,
        "parent_id": None,
        "stands_on_id": None,
        "verdict": "passed",
        "reasons": [],
        "weights_sha256": None,
        "files": files,
        "scores": {},
        "live": False,
    }


def test_a_file_whose_hash_is_another_is_not_left_behind(tmp_path):
    with (
        answering((200, checkpoint({"card.md": "0" * 64})), (200, b"other")) as (url, _),
        Client(url, sleep=at_once) as client,
        pytest.raises(Damaged, match=r"card\.md has SHA-256"),
    ):
        client.checkpoints.pull(uuid4(), tmp_path)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["../outside", "/etc/passwd", "a/../../b"])
def test_a_server_cannot_have_files_written_outside_of_the_folder(tmp_path, path):
    with (
        answering((200, checkpoint({path: "0" * 64}))) as (url, _),
        Client(url, sleep=at_once) as client,
        pytest.raises(Damaged, match="outside"),
    ):
        client.checkpoints.pull(uuid4(), tmp_path / "folder")


def test_many_events_go_in_batches_and_their_results_keep_their_places(client):
    events = [EVENT.model_copy(update={"event_id": f"e-{n}", "completion_id": f"msg-{n}"}) for n in range(700)]
    client.events.record_many(events[600:])

    receipt = client.events.record_many(events)

    assert (receipt.stored, receipt.replayed, receipt.rejected) == (600, 100, 0)
    assert [item.index for item in receipt.items] == list(range(700))
    assert [item.event_id for item in receipt.items] == [event.event_id for event in events]


def test_many_completions_are_registered_in_batches_and_their_results_keep_their_places(client):
    completions = [
        wire.IdentifiedCompletion(completion_id=f"msg-{number}", prompt="Where?", completion="Here.")
        for number in range(600)
    ]
    client.completions.register("msg-599", wire.Completion(prompt="Where?", completion="There."))

    receipt = client.completions.register_many(completions)

    assert (receipt.stored, receipt.replayed, receipt.rejected) == (599, 0, 1)
    assert [(item.index, item.completion_id) for item in receipt.items] == [(n, f"msg-{n}") for n in range(600)]
    assert (receipt.items[599].status, receipt.items[599].differs) == ("conflict", ["/completion"])


def test_listings_go_on_over_all_pages(client):
    client.events.record_many(EVENT.model_copy(update={"event_id": f"e-{n}"}) for n in range(120))

    assert len({event.event_id for event in client.events.list()}) == 120
    assert len(list(client.events.list(completion_id="nobody's"))) == 0


def test_a_thumb_reads_as_one_call(client):
    receipt = client.feedback(
        "msg-1", "user-1", "down", prompt="Where is it?", completion="No idea.", conversation_id="chat-7"
    )

    assert receipt.status == "stored"
    stored = next(client.events.list())
    assert (stored.signal, stored.conversation_id) == ({"kind": "thumbs", "value": "down"}, "chat-7")
    assert client.checkpoints.approvals() == []


def test_a_project_that_is_needed_and_not_named_is_an_error_that_names_it(monkeypatch):
    monkeypatch.delenv("THUMBWHEEL_PROJECT", raising=False)

    with Client("http://127.0.0.1:1") as client, pytest.raises(ClientError, match="THUMBWHEEL_PROJECT"):
        client.projects.readiness()


def test_a_change_sends_the_sections_that_are_given_alone(client):
    changed = client.projects.change(wire.ProjectChange(trigger=wire.TriggerRules(new_per_class=7)))

    assert changed.trigger.new_per_class == 7
    assert changed.snapshot.minimum_per_class == 1
