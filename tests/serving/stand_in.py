"""A stand-in for vLLM and SGLang: the routes, shapes and refusals that were measured, with faults to order.

A model's log-probs are those of the probe of whatever is in its folder, so that the server tells the truth about what
it has loaded, unless a test makes it lie.
"""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from app.checkpoints.probe_file import Probe


@dataclass
class StandIn:
    """The state of the server, and what it does wrong.

    probes      the probe of each adapter, by the content of its weights
    lies        adapters are answered as: None: themselves; "base"; a number of nats that is added; or one of these by
                the content of the weights
    load_status what a load is answered with, without loading; 0: it is loaded
    slow        seconds before each answer
    slow_load   seconds of a load
    hang_after_load  the load succeeds and is not answered
    """

    url: str = ""
    kind: str = "vllm"
    key: str | None = None
    probes: dict[str, Probe] = field(default_factory=dict)
    adapters: dict[str, str] = field(default_factory=dict)
    weights: dict[str, str] = field(default_factory=dict)
    lies: Any = None
    load_status: int = 0
    slow: float = 0
    slow_load: float = 0
    hang_after_load: bool = False
    calls: list[tuple[str, str]] = field(default_factory=list)
    loading: threading.Event = field(default_factory=threading.Event)

    def log_probs(self, model: str, tokens: list[int]) -> list[float]:
        probe = next(iter(self.probes.values()))
        name = model.rpartition(":")[2]
        if name in self.adapters:
            probe = self.probes[self.content(name)]
        [prompt] = [each for each in probe.prompts if each.tokens == tokens]
        if name not in self.adapters:
            return prompt.base.log_probs
        lie = self.lies.get(self.content(name)) if isinstance(self.lies, dict) else self.lies
        return prompt.base.log_probs if lie == "base" else [value + (lie or 0) for value in prompt.candidate.log_probs]

    def content(self, name: str) -> str:
        """Returns the weights of an adapter, as they were when it was loaded."""
        return self.weights[name]

    def restart(self) -> None:
        """Forgets every adapter, as a server does that is started again."""
        self.adapters.clear()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Any

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._answer(None)

    def do_POST(self) -> None:
        self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def _answer(self, body: Any) -> None:
        state: StandIn = self.server.state
        time.sleep(state.slow)
        if state.key is not None and self.headers["Authorization"] != f"Bearer {state.key}":
            self._send(401, {"error": f"Unauthorized: {self.headers['Authorization']}"})
            return
        prefix = "/v1" if state.kind == "vllm" else ""
        state.calls.append((self.path, (body or {}).get("lora_name", "")))
        if self.path == "/v1/models":
            base = {"id": "base-model", "object": "model", "root": "/models/base", "parent": None}
            cards = [{"id": name, "root": path, "parent": "base-model"} for name, path in state.adapters.items()]
            self._send(200, {"object": "list", "data": [base, *cards]})
        elif self.path == f"{prefix}/load_lora_adapter":
            self._load(state, body)
        elif self.path == f"{prefix}/unload_lora_adapter":
            known = state.adapters.pop(body["lora_name"], None)
            self._send(404 if known is None else 200, {})
        elif self.path == "/v1/completions" and state.kind == "vllm":
            tokens = body["prompt"]
            if isinstance(tokens, str):
                self._write(state, body["model"])
                return
            values = state.log_probs(body["model"], tokens)
            rows = [None, *({str(t): {"logprob": lp, "rank": 1}} for t, lp in zip(tokens[1:], values, strict=True))]
            self._send(200, {"choices": [{"text": "x", "prompt_logprobs": rows}]})
        elif self.path == "/generate" and state.kind == "sglang":
            tokens = body["input_ids"]
            values = [None, *state.log_probs(body.get("lora_path", ""), tokens)]
            rows = [[lp, token, None] for lp, token in zip(values, tokens, strict=True)]
            self._send(200, {"text": "x", "meta_info": {"input_token_logprobs": rows}})
        else:
            self._send(404, {"detail": "Not Found"})

    def _write(self, state: StandIn, model: str) -> None:
        """Answers a request of an actor with the content of the model, which says who wrote it."""
        if model == "base-model":
            self._send(200, {"choices": [{"text": "base"}]})
        elif model in state.adapters:
            self._send(200, {"choices": [{"text": state.content(model)}]})
        else:
            self._send(404, {"error": {"message": f"The model `{model}` does not exist."}})

    def _load(self, state: StandIn, body: Any) -> None:
        name, path = body["lora_name"], Path(body["lora_path"])
        if state.load_status:
            self._send(state.load_status, {"error": {"message": "unable to load"}})
        elif name in state.adapters:
            self._send(400, {"error": {"message": f"The lora adapter '{name}' has already been loaded."}})
        elif not (path / "adapter_config.json").is_file():
            self._send(404, {"error": {"message": f"No adapter found for {path}"}})
        else:
            state.loading.set()
            time.sleep(state.slow_load)
            state.weights[name] = (path / "adapter_model.safetensors").read_text()
            state.adapters[name] = str(path)
            if state.hang_after_load:
                time.sleep(30)
            self._send(200, {})

    def _send(self, status: int, document: Any) -> None:
        content = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def server_of(state: StandIn, port: int = 0) -> ThreadingHTTPServer:
    """Returns a server that listens on the port, or on a free one."""
    server = ThreadingHTTPServer(("127.0.0.1", port), _Handler)
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    server.state = state  # type: ignore[attr-defined]
    return server


@contextmanager
def stand_in(kind: str = "vllm") -> Iterator[StandIn]:
    """Runs a server in a thread on a free port."""
    state = StandIn(kind=kind)
    server = server_of(state)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
