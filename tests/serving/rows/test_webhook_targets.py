"""Targets behind a webhook: an endpoint of the operator serves what it is asked to, or says what it waits for."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from thumbwheel import wire


@dataclass
class Deployer:
    """An endpoint that serves what it is asked to. `answer`: what it says instead, with its status."""

    url: str = ""
    serving: dict[str, str] = field(default_factory=dict)
    orders: list[dict[str, Any]] = field(default_factory=list)
    keys: set[str | None] = field(default_factory=set)
    answer: tuple[int, Any] | None = None

    def answered(self, order: dict[str, Any]) -> tuple[int, Any]:
        self.orders.append(order)
        if self.answer is not None:
            return self.answer
        if order["action"] == "unload":
            self.serving.pop(order["name"], None)
            return 200, {}
        self.serving[order["name"]] = order["folder"]
        return 200, {"state": "serving", "model": f"served-{order['name']}"}


@pytest.fixture
def deployer() -> Iterator[Deployer]:
    own = Deployer()

    class DeployerHandler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            own.keys.add(self.headers["authorization"])
            status, answer = own.answered(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), DeployerHandler)
    own.url = f"http://127.0.0.1:{server.server_port}/deploy"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield own
    server.shutdown()
    server.server_close()
    thread.join()


def test_an_endpoint_serves_the_live_checkpoint_and_the_canary_and_unloads_what_nobody_needs(
    desk, deployer, monkeypatch
) -> None:
    monkeypatch.setenv("THUMBWHEEL_SERVING_KEY_DEPLOYER", "secret")
    first, second = desk.checkpoint(), desk.checkpoint()
    desk.ship(first)
    key = "THUMBWHEEL_SERVING_KEY_DEPLOYER"
    desk.add(kind="webhook", url=deployer.url, adapters="as_they_are", key_env=key)
    desk.ship(second, share=0.3)

    both = desk.look()
    live, canary = deployer.orders

    assert (both.in_step, both.seen_checkpoint_id, both.canary.seen_checkpoint_id) == (True, first, second)
    assert (both.model, both.canary.model, both.url) == (f"served-{live['name']}", f"served-{canary['name']}", None)
    assert (live["action"], live["role"], canary["role"], live["kind"]) == ("serve", "live", "canary", "adapter")
    assert both.probe.verdict == "not_comparable"
    assert sorted(deployer.serving.values()) == sorted(str(path) for path in (desk.publish / "desk").iterdir())
    assert deployer.keys == {"Bearer secret"}

    desk.ship(second)
    after = desk.look()
    assert (after.in_step, after.seen_checkpoint_id, after.canary) == (True, second, None)
    assert list(deployer.serving) == [canary["name"]]


@pytest.mark.parametrize(
    ("answer", "state", "said"),
    [
        ((200, {"state": "loading", "reason": "rolling\nout"}), "away", "it is loading: rolling out"),
        ((503, {}), "away", "it answered 503"),
        ((500, {"detail": "no GPU"}), "failed", "it answered 500"),
        ((200, {"state": "serving"}), "failed", '"model"'),
        ((200, []), "failed", '"model"'),
        ((200, {"state": "serving", "model": "a\0"}), "failed", '"model"'),
        ((200, {"state": "serving", "model": "\ud800"}), "failed", '"model"'),
    ],
)
def test_an_endpoint_that_does_not_serve_is_asked_again_and_its_reason_shown(
    desk, deployer, answer, state, said
) -> None:
    desk.ship(desk.checkpoint())
    desk.add(kind="webhook", url=deployer.url, adapters="as_they_are")
    deployer.answer = answer

    found = desk.look()
    assert (found.state, found.in_step, found.seen_checkpoint_id) == (state, False, None)
    assert said in found.reason

    deployer.answer = None
    assert desk.look().in_step


def test_an_endpoint_has_to_have_an_address() -> None:
    with pytest.raises(ValueError, match="url"):
        wire.WebhookTargetSettings.model_validate({"kind": "webhook", "publish_folder": "/srv"})
