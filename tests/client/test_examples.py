"""The examples as products run them: behind a real socket, with a model server, and with the real API."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from thumbwheel import Client

from app.services import wait_until
from examples.fastapi import chat_backend
from examples.slack import slack_app
from tests.gateway.openai_server import ModelServer, model_server
from tests.served import in_a_thread

SECRET = "8f742231b10e8888abcd99yyyzzz85a5"


@pytest.fixture
def model(monkeypatch) -> Iterator[ModelServer]:
    with model_server() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", f"{server.url}/v1")
        monkeypatch.setenv("OPENAI_API_KEY", "k")
        yield server


@pytest.fixture
def slack(monkeypatch) -> Iterator[list[tuple[str, str | None, Any]]]:
    """The path, key and body of each request to a stand-in for Slack's API."""
    with slack_api() as (url, posted):
        monkeypatch.setenv("SLACK_API_URL", f"{url}/api")
        monkeypatch.setenv("SLACK_SIGNING_SECRET", SECRET)
        monkeypatch.setenv("SLACK_BOT_TOKEN", "xoxb-1")
        yield posted


@contextmanager
def slack_api() -> Iterator[tuple[str, list[tuple[str, str | None, Any]]]]:
    posted: list[tuple[str, str | None, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            posted.append((self.path, self.headers.get("Authorization"), body))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"ok": true}')

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", posted
        finally:
            server.shutdown()
            thread.join()


def signed(body: str, *, age: float = 0, secret: str = SECRET) -> dict[str, Any]:
    timestamp = str(int(time.time() - age))
    signature = slack_app.signature_of(secret, timestamp, body.encode())
    return {
        "content": body,
        "headers": {"X-Slack-Request-Timestamp": timestamp, "X-Slack-Signature": signature},
    }


def press(action_id: str, completion_id: str, response_url: str, at: str) -> str:
    action = {"action_id": action_id, "value": completion_id, "action_ts": at}
    user = {"id": "U1", "team_id": "T1"}
    payload = {"type": "block_actions", "user": user, "actions": [action], "response_url": response_url}
    return urlencode({"payload": json.dumps(payload)})


def test_the_chat_backend_registers_its_answers_and_sends_what_waits_when_it_stops(client: Client, model):
    with in_a_thread(chat_backend.create_app) as url, httpx.Client(base_url=url, headers={"X-User": "user-7"}) as page:
        question = {"text": "Where is my parcel?", "conversation_id": "chat-1"}
        answer = page.post("/chat", json=question).raise_for_status().json()
        assert page.post(f"/answers/{answer['id']}/thumb", json={"value": "down"}).status_code == 202
        edited = page.post(f"/answers/{answer['id']}/edit", json={"text": "It is in Leeds."})

    assert edited.json()["status"] == "stored"
    registered = client.completions.get(answer["id"])
    assert (registered.completion, registered.conversation_id) == (answer["text"], "chat-1")
    events = {event.signal["kind"]: event for event in client.events.list()}
    assert {kind: (event.actor, event.completion_id) for kind, event in events.items()} == {
        "thumbs": ("user-7", answer["id"]),
        "edit": ("user-7", answer["id"]),
    }


def test_a_mention_is_answered_in_its_thread_and_buttons_become_thumbs(client: Client, model, slack):
    mention = {"type": "app_mention", "channel": "C1", "ts": "1700000000.000100", "text": "<@B1> Where is it?"}
    body = json.dumps({"type": "event_callback", "event": mention})
    now = time.time()
    with in_a_thread(slack_app.create_app) as url, httpx.Client(base_url=url) as sender:
        assert sender.post("/slack/events", **signed(body)).json() == {}
        retried = signed(body)
        retried["headers"]["X-Slack-Retry-Num"] = "1"
        assert sender.post("/slack/events", **retried).status_code == 200
        assert wait_until(lambda: bool(slack), 20)
        [[path, key, message]] = slack
        [up, down] = message["blocks"][1]["elements"]
        thanks = f"{model.url}/thanks"
        for button, at in ((up, now - 2), (down, now - 1), (down, now - 1)):
            pressed = press(button["action_id"], button["value"], thanks, f"{at:.6f}")
            assert sender.post("/slack/interactions", **signed(pressed)).status_code == 200

    assert (path, key, message["channel"]) == ("/api/chat.postMessage", "Bearer xoxb-1", "C1")
    assert (message["thread_ts"], message["text"]) == (mention["ts"], "It left this morning.")
    assert len(slack) == 1
    assert client.completions.get(up["value"]).conversation_id == f"slack-C1-{mention['ts']}"
    events = sorted(client.events.list(), key=lambda event: event.occurred_at)
    assert [(event.signal["value"], event.actor) for event in events] == [
        ("up", "slack-T1-U1"),
        ("down", "slack-T1-U1"),
    ]


@pytest.mark.parametrize("path", ["/slack/events", "/slack/interactions"])
def test_what_slack_has_not_signed_a_moment_ago_is_refused(api_environment, model, slack, path):
    body = json.dumps({"type": "url_verification", "challenge": "c"})
    with in_a_thread(slack_app.create_app) as url, httpx.Client(base_url=url) as sender:
        for faulty in (signed(body, age=301), signed(body, age=-301), signed(body, secret="another")):
            assert sender.post(path, **faulty).status_code == 401
        assert sender.post(path, **{**signed(body), "content": body + " "}).status_code == 401
        odd = {**signed(body)["headers"], "X-Slack-Signature": b"v0=\xe9"}
        assert sender.post(path, content=body, headers=odd).status_code == 401
        assert sender.post("/slack/events", **signed(body)).json() == {"challenge": "c"}

    assert slack == []
