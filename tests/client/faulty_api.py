"""A stand-in for the API that remembers what it is sent, and refuses or keeps silent to order."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class FaultyApi:
    """The state of the stand-in.

    answers      status and Retry-After of the next requests; then all are stored
    most         items of a batch that are taken; a larger one is refused as a whole
    older        whether the stand-in knows no batch of completions
    limited      actors whose next event is above their limit
    bodies       what was sent, one list of items for each request, refused ones included
    completions  the stored completions without their ids, by these
    stored       ids of what is stored, as often as it was sent
    arrived      is set when a request has come
    open         requests are answered while it is set
    """

    url: str = ""
    answers: list[tuple[int, str | None]] = field(default_factory=list)
    most: int = 1000
    older: bool = False
    limited: list[str] = field(default_factory=list)
    bodies: list[list[dict[str, Any]]] = field(default_factory=list)
    completions: dict[str, dict[str, Any]] = field(default_factory=dict)
    stored: list[str] = field(default_factory=list)
    arrived: threading.Event = field(default_factory=threading.Event)
    open: threading.Event = field(default_factory=threading.Event)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # an answer is one packet, or the kernel delays its second one
    server: Any

    def log_message(self, *_: Any) -> None:
        pass

    def do_POST(self) -> None:
        api: FaultyApi = self.server.api
        body = self.rfile.read(int(self.headers["Content-Length"]))
        items = [json.loads(line) for line in body.split(b"\n")]
        api.bodies.append(items)
        api.arrived.set()
        api.open.wait(20)
        if api.answers:
            self._answer(*api.answers.pop(0))
        elif len(items) > api.most:
            self._answer(422, None)
        elif api.older and self.command == "POST" and self.path.startswith("/v1/completions/"):
            self._answer(415, None)
        elif self.command == "PUT":
            completion_id = self.path.rpartition("/")[2].partition("?")[0]
            api.stored.append(completion_id)
            api.completions[completion_id] = items[0]
            self._answer(201, None)
        else:
            self._answer(200, None, [self._take(item) for item in items])

    do_PUT = do_POST

    def _take(self, item: dict[str, Any]) -> dict[str, Any]:
        api: FaultyApi = self.server.api
        name = "completion_id" if self.path.startswith("/v1/completions/") else "event_id"
        if item.get("actor") in api.limited:
            api.limited.remove(item["actor"])
            return {"status": "rate_limited", name: item[name], "retry_after_seconds": 0.05}
        api.stored.append(item[name])
        if name == "completion_id":
            api.completions[item[name]] = {key: value for key, value in item.items() if key != name}
        return {"status": "stored", name: item[name]}

    def _answer(self, status: int, retry_after: str | None, items: Any = ()) -> None:
        refused = {"code": "refused", "detail": "no"}
        content = json.dumps({"status": "stored", "items": items} if status < 300 else refused).encode()
        try:
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            if retry_after is not None:
                self.send_header("Retry-After", retry_after)
            self.end_headers()
            self.wfile.write(content)
        except OSError:
            self.close_connection = True


class _Server(ThreadingHTTPServer):
    daemon_threads = True


@contextmanager
def faulty_api() -> Iterator[FaultyApi]:
    """Serves the stand-in in threads on a free port."""
    server = _Server(("127.0.0.1", 0), _Handler)
    api = FaultyApi(url=f"http://127.0.0.1:{server.server_address[1]}")
    api.open.set()
    server.api = api  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield api
    finally:
        api.open.set()
        server.shutdown()
        server.server_close()
        thread.join()
