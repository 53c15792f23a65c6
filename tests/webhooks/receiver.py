"""A receiver of webhooks on a free port of this machine, which verifies every message by the reference library."""

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks import Webhook, WebhookVerificationError


@dataclass
class Receiver:
    """Messages so far, and the answers to the next ones: the last answer is repeated."""

    url: str = ""
    secrets: Sequence[str] = ()
    statuses: list[int] = field(default_factory=lambda: [204])
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    messages: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    verified: list[int] = field(default_factory=list)
    arrived: threading.Event = field(default_factory=threading.Event)
    answering: threading.Event = field(default_factory=threading.Event)

    @property
    def ids(self) -> list[str]:
        return [webhook_id for webhook_id, _ in self.messages]

    @property
    def types(self) -> list[str]:
        return [message["type"] for _, message in self.messages]


@contextmanager
def receiving() -> Iterator[Receiver]:
    receiver = Receiver()
    receiver.answering.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["content-length"]))
            receiver.messages.append((self.headers["webhook-id"], json.loads(content)))
            receiver.verified.append(
                sum(_verifies(secret, content, dict(self.headers.items())) for secret in receiver.secrets)
            )
            receiver.arrived.set()
            receiver.answering.wait(20)
            statuses = receiver.statuses
            self.send_response(statuses.pop(0) if len(statuses) > 1 else statuses[0])
            for name, value in receiver.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(receiver.body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    receiver.url = f"http://127.0.0.1:{server.server_port}/hook?team=ops"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.answering.set()
        server.shutdown()
        server.server_close()
        thread.join()


def _verifies(secret: str, content: bytes, headers: dict[str, str]) -> bool:
    try:
        Webhook(secret).verify(content, headers)
    except WebhookVerificationError:
        return False
    return True
