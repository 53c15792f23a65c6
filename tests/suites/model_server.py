"""A small server in the shape of OpenAI's API, which answers as a test says."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal


@dataclass
class Reply:
    """The answer to a request; without a status the connection is closed.

    drip  the part of it that is sent a byte at a time, for ever
    """

    body: bytes = b""
    status: int | None = 200
    drip: Literal["body", "headers"] | None = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class ModelServer:
    url: str
    requests: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)


def chat(text: Any, finish_reason: str = "stop", usage: Any = None, **message: Any) -> Reply:
    """Returns a chat completion."""
    choice = {"message": {"role": "assistant", "content": text, **message}, "finish_reason": finish_reason}
    return Reply(json.dumps({"choices": [choice], "usage": usage}).encode())


@contextmanager
def model_server(answer: Callable[[int, dict[str, Any]], Reply]) -> Iterator[ModelServer]:
    """Serves what `answer` returns for the number of a request, from 0, and its body."""
    state = ModelServer("")
    lock = threading.Lock()
    ended = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                number = len(state.requests)
                state.requests.append(body)
                state.keys.append(self.headers.get("Authorization"))
            reply = answer(number, body)
            self.close_connection = True
            if reply.status is None:
                return
            self.send_response(reply.status)
            length = 10**6 if reply.drip else len(reply.body)
            for name, value in {"Content-Length": str(length), "Connection": "close", **reply.headers}.items():
                self.send_header(name, value)
            try:
                if reply.drip == "headers":
                    self.flush_headers()
                    self.wfile.write(b"X-Slow: ")
                else:
                    self.end_headers()
                    self.wfile.write(reply.body)
                while reply.drip and not ended.wait(0.02):
                    self.wfile.write(b" ")
            except OSError:
                pass  # the client has left

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        state.url = f"http://127.0.0.1:{server.server_port}/v1"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield state
        finally:
            ended.set()
            server.shutdown()
            thread.join()
