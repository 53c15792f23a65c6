"""A page of another origin in a real browser: it sends thumbs by a browser key, is limited, and may do nothing else."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.sync_api import Browser, Page
from thumbwheel import Client, wire

from tests.conftest import Servers
from tests.served import served

pytestmark = pytest.mark.pages

SEND = """
async ([url, key, path, method, event]) => {
  try {
    const answer = await fetch(url + path, {method, headers: {
      "Authorization": "Bearer " + key, ...(event ? {"Content-Type": "application/json"} : {}),
    }, body: event && JSON.stringify(event)});
    const body = await answer.json();
    return {status: answer.status, code: body.code, retryAfter: answer.headers.get("Retry-After")};
  } catch (error) {
    return {blocked: String(error)};
  }
}
"""


class EmptyPage(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>A shop</title>")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def shop() -> Iterator[str]:
    """The origin of a page that is not ours."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), EmptyPage)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://localhost:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def url(migrated: Servers) -> Iterator[str]:
    with served() as url:
        yield url


@pytest.fixture
def client(url: str, admin_key: str) -> Iterator[Client]:
    with Client(url, api_key=admin_key, project="acme") as client:
        client.projects.create(wire.NewProject(project="acme", base_model="/models/base", suites=[]))
        yield client


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context()
    yield context.new_page()
    context.close()


def thumb(number: int) -> dict[str, object]:
    signal = {"kind": "thumbs", "value": "up"}
    return {"event_id": f"e{number}", "completion_id": "c1", "actor": "u1", "signal": signal}


def test_a_page_of_another_origin_sends_a_thumb_is_limited_and_may_do_nothing_else(client, url, shop, page, admin_key):
    def key(origin: str) -> str:
        limits = wire.KeyLimits(actor_per_minute=2)
        new = wire.NewKey(name="shop", scopes=["feedback:write"], project="acme", origins=[origin], limits=limits)
        return client.keys.create(new).secret

    page.goto(shop)
    own, foreign = key(shop), key("https://*.example.com")

    def send(secret: str, event: object = None, path: str = "/v1/feedback", method: str = "POST") -> dict[str, object]:
        return page.evaluate(SEND, [url, secret, path, method, event])

    answers = (send(own, thumb(number)) for number in range(5))  # 2 + 2 + 1: a minute may end in between
    limited = next(answer for answer in answers if answer["status"] != 201)
    assert (limited["status"], limited["code"]) == (429, "rate_limited")
    assert int(str(limited["retryAfter"])) > 0
    assert send(foreign, thumb(14)) == {"status": 403, "code": "other_origin", "retryAfter": None}

    for path, method in [("/v1/feedback", "GET"), ("/v1/runs", "GET"), ("/v1/keys", "GET")]:
        assert "blocked" in send(own, path=path, method=method), path
    assert "blocked" in send(own, [thumb(15)], "/v1/feedback/batch")
    assert "blocked" in send(own, {}, "/v1/runs")
    assert "blocked" in send(admin_key, thumb(16)), "a page must notice that this key does not belong into it"
    assert {event.event_id for event in client.events.list()} >= {"e0", "e1"}
    assert not {"e14", "e15", "e16"} & {event.event_id for event in client.events.list()}


def test_a_vote_link_that_a_scanner_opens_stores_nothing_and_its_form_stores_one_vote(client, page):
    link = client.vote_links.create("c1", "u1")

    page.goto(link.url.replace("http://127.0.0.1:8000", client.url))
    page.reload()
    assert list(client.events.list()) == []

    page.get_by_role("button", name="Not good").click()
    assert "Thank you" in page.get_by_role("status").inner_text()
    page.go_back()
    page.get_by_role("button", name="👍 Good", exact=True).click()
    assert "voted already" in page.get_by_role("status").inner_text()

    [event] = client.events.list()
    assert (event.event_id, event.completion_id, event.actor) == (link.event_id, "c1", "u1")
    assert event.signal == {"kind": "thumbs", "value": "down"}
