"""Wrapped clients of `openai` and the Responses API."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from openai import OpenAI
from thumbwheel import FeedbackQueue, Undelivered, wrap_openai

TEXT = {
    "type": "message", "id": "m1", "role": "assistant", "status": "completed",
    "content": [{"type": "output_text", "text": "On its way.", "annotations": []}],
}  # fmt: skip
CALL = {"type": "function_call", "id": "f1", "call_id": "t1", "name": "track", "arguments": "{}", "status": "completed"}
SEARCH = {"type": "web_search_call", "id": "w1", "status": "completed", "action": {"type": "search", "query": "q"}}
TOOL = {"type": "function", "name": "track", "parameters": {"type": "object"}, "strict": False}
AS_CALL = {"id": "t1", "type": "function", "function": {"name": "track", "arguments": "{}"}}


def response(*output: dict[str, Any], status: str = "completed") -> dict[str, Any]:
    return {
        "id": "resp_1", "object": "response", "created_at": 1, "model": "m-1", "status": status, "output": output,
        "tools": [], "tool_choice": "auto", "parallel_tool_calls": True,
    }  # fmt: skip


def events(*output: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns the events of a stream that writes a text, or calls a tool."""
    [item] = output
    pieces = [{"type": "response.output_item.added", "output_index": 0, "item": {**item, "content": []}}]
    if item is TEXT:
        place = {"item_id": "m1", "output_index": 0, "content_index": 0, "logprobs": []}
        pieces += [{"type": "response.output_text.delta", "delta": text, **place} for text in ("On its ", "way.")]
    begin = {"type": "response.created", "response": response(status="in_progress")}
    return [begin, *pieces, {"type": "response.completed", "response": response(*output)}]


@contextmanager
def server(*output: dict[str, Any]) -> Iterator[str]:
    """Serves this output to every request."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            stream = body.get("stream")
            lines = (
                [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events(*output)]
                if stream
                else []
            )
            content = ("".join(lines) if stream else json.dumps(response(*output))).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream" if stream else "application/json")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{running.server_port}/v1"
        finally:
            running.shutdown()
            thread.join()


@contextmanager
def wrapped(thumbs: FeedbackQueue, *output: dict[str, Any]) -> Iterator[OpenAI]:
    with server(*output) as url, OpenAI(base_url=url, api_key="k", max_retries=0) as client:
        yield wrap_openai(client, thumbs)


def test_a_turn_with_instructions_tools_and_earlier_calls_is_registered_as_a_chat(faulty):
    earlier = [{"role": "user", "content": "Where is it?"}, CALL]
    result = {"type": "function_call_output", "call_id": "t1", "output": "in Leeds"}
    with FeedbackQueue(faulty.url, raise_errors=True) as thumbs, wrapped(thumbs, TEXT) as client:
        answer = client.responses.create(
            model="m", instructions="Be brief.", input=[*earlier, result], tools=[TOOL], max_output_tokens=50
        )
        assert answer.output_text == "On its way."
        assert thumbs.flush(20)

    assert faulty.completions["resp_1"] == {
        "prompt": {
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "Where is it?"},
                {"role": "assistant", "tool_calls": [AS_CALL]},
                {"role": "tool", "tool_call_id": "t1", "content": "in Leeds"},
            ],
            "tools": [TOOL],
        },
        "completion": "On its way.",
        "sampling": {"max_output_tokens": 50, "model": "m-1", "finish_reason": "stop"},
    }


@pytest.mark.parametrize(
    ("written", "completion"), [(TEXT, "On its way."), (CALL, {"role": "assistant", "tool_calls": [AS_CALL]})]
)
def test_a_stream_passes_its_events_on_and_is_registered_at_its_end(faulty, written, completion):
    with FeedbackQueue(faulty.url, raise_errors=True) as thumbs, wrapped(thumbs, written) as client:
        kinds = [event.type for event in client.responses.create(model="m", input="Where is it?", stream=True)]
        assert thumbs.flush(20)

    assert kinds == [event["type"] for event in events(written)]
    assert faulty.completions["resp_1"]["prompt"] == [{"role": "user", "content": "Where is it?"}]
    assert faulty.completions["resp_1"]["completion"] == completion


def test_an_abandoned_stream_is_registered_as_far_as_it_came_unless_it_is_a_call(faulty):
    undelivered: list[Undelivered] = []
    with FeedbackQueue(faulty.url, on_error=undelivered.append) as thumbs:
        for written in (TEXT, CALL):
            with (
                wrapped(thumbs, written) as client,
                client.responses.create(model="m", input="?", stream=True) as stream,
            ):
                for _, _event in zip(range(2 + (written is TEXT)), stream, strict=False):
                    pass
        assert thumbs.flush(20)

    assert faulty.completions["resp_1"]["completion"] == "On its "
    assert faulty.completions["resp_1"]["sampling"]["finish_reason"] == "client_closed"
    assert [item.code for item in undelivered] == ["broken_call"]


@pytest.mark.parametrize(
    ("more", "output"),
    [({"previous_response_id": "resp_0"}, TEXT), ({"tools": [{"type": "web_search"}]}, TEXT), ({}, SEARCH)],
)
def test_what_rests_on_something_that_is_not_in_the_request_is_not_registered(faulty, more, output):
    undelivered: list[Undelivered] = []
    with FeedbackQueue(faulty.url, on_error=undelivered.append) as thumbs, wrapped(thumbs, output) as client:
        client.responses.create(model="m", input="Where is it?", **more)

    assert [(item.id, item.code) for item in undelivered] == [("resp_1", "unsupported_content")]
    assert faulty.completions == {}
