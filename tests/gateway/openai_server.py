"""A stand-in for a model server in OpenAI's shape, as vLLM and SGLang answer, with faults to order."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class ModelServer:
    """The state of the server, and what it does wrong.

    words     the tokens of every answer
    pause     seconds before each token
    status    what every request is refused with; 0: it is answered
    closes    the number of requests whose connection is closed without an answer
    cut_after tokens after which the connection breaks; None: never
    short     the last token has no id
    silent    it takes requests and does not answer
    bodies    the requests, as they came
    hung_up   set once a caller has gone in the middle of an answer
    """

    url: str = ""
    words: tuple[str, ...] = ("It ", "left ", "this ", "morning.")
    pause: float = 0
    status: int = 0
    refusal: Any = None
    closes: int = 0
    cut_after: int | None = None
    short: bool = False
    silent: bool = False
    chat_extra: dict[str, Any] = field(default_factory=dict)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    hung_up: threading.Event = field(default_factory=threading.Event)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Any

    def log_message(self, *_: Any) -> None:
        pass

    def do_POST(self) -> None:
        state: ModelServer = self.server.state
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        state.bodies.append(body)
        state.headers.append({name.lower(): value for name, value in self.headers.items()})
        if state.closes:
            state.closes -= 1
            self.close_connection = True
            return
        if state.silent:
            time.sleep(30)
        if state.status:
            self._whole(state.status, state.refusal or {"error": {"message": "out of order", "type": "Broken"}})
        elif body.get("stream"):
            self._stream(state, body)
        else:
            time.sleep(state.pause * len(state.words))
            self._whole(200, self._document(state, body, list(range(len(state.words))), last=True, whole=True))

    def _document(
        self, state: ModelServer, body: Any, tokens: list[int], *, last: bool, whole: bool = False
    ) -> dict[str, Any]:
        chat = self.path.endswith("/chat/completions")
        text = "".join(state.words[token] for token in tokens)
        kind = "chat.completion" if chat else "text_completion"
        return {
            "id": "server-id",
            "object": kind if whole or not chat else "chat.completion.chunk",
            "created": 1,
            "model": body["model"],
            "choices": [
                self._choice(state, body, index, text, tokens, last=last, whole=whole)
                for index in range(body.get("n") or 1)
            ],
            **({"usage": self._usage(state, body)} if whole else {}),
        }

    def _choice(
        self, state: ModelServer, body: Any, index: int, text: str, tokens: list[int], *, last: bool, whole: bool
    ) -> dict[str, Any]:
        chat = self.path.endswith("/chat/completions")
        choice: dict[str, Any] = {"index": index, "logprobs": None, "finish_reason": "stop" if last else None}
        if chat:
            choice["message" if whole else "delta"] = {"role": "assistant", "content": text, **state.chat_extra}
        else:
            choice["text"] = text
        log_probs = [-0.5 - token for token in tokens]
        if chat and body.get("logprobs"):
            choice["logprobs"] = {
                "content": [
                    {"token": state.words[token], "logprob": lp, "bytes": None, "top_logprobs": []}
                    for token, lp in zip(tokens, log_probs, strict=True)
                ]
            }
        elif not chat and body.get("logprobs") is not None:
            choice["logprobs"] = {
                "tokens": [state.words[token] for token in tokens], "token_logprobs": log_probs, "text_offset": [],
                "top_logprobs": [],
            }  # fmt: skip
        if body.get("return_token_ids"):
            choice["token_ids"] = [1000 + token for token in tokens][: -1 if state.short and last else None]
        return choice

    def _usage(self, state: ModelServer, body: Any) -> dict[str, int]:
        written = len(state.words) * (body.get("n") or 1)
        return {"prompt_tokens": 3, "completion_tokens": written, "total_tokens": 3 + written}

    def _stream(self, state: ModelServer, body: Any) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            for token in range(len(state.words)):
                time.sleep(state.pause)
                if token == state.cut_after:
                    self.close_connection = True
                    return
                document = self._document(state, body, [token], last=token == len(state.words) - 1)
                self._event(json.dumps(document))
            if (body.get("stream_options") or {}).get("include_usage"):
                usage = {**self._document(state, body, [], last=True), "choices": [], "usage": self._usage(state, body)}
                self._event(json.dumps(usage))
            self._event("[DONE]")
            self.wfile.write(b"0\r\n\r\n")
        except OSError:
            self.close_connection = True
            state.hung_up.set()

    def _event(self, data: str) -> None:
        event = f"data: {data}\n\n".encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
        self.wfile.flush()

    def _whole(self, status: int, document: Any) -> None:
        content = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 500


@contextmanager
def model_server(**how: Any) -> Iterator[ModelServer]:
    """Runs a server in threads on a free port."""
    server = _Server(("127.0.0.1", 0), _Handler)
    state = ModelServer(url=f"http://127.0.0.1:{server.server_address[1]}", **how)
    server.state = state  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
