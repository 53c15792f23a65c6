"""Parts, tools, tool calls and reasoning in the records of trainers and tools: all of them are imported whole."""

import html
import json
from typing import Any

import pytest

from app.feedback import importing, signals
from app.feedback.importing import Imported, Registered, Rejected

SCHEMA = {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}
TOOL = {"type": "function", "function": SCHEMA}
FUNCTION = {"name": "weather", "arguments": {"city": "Lisbon"}}
CALL = {"type": "function", "function": FUNCTION}
ASKED = {"role": "user", "content": "Weather in Lisbon?"}
CALLED = {"role": "assistant", "tool_calls": [CALL]}
RESULT = {"role": "tool", "content": "19 C"}
#: A chat with a call and its result, and an answer with reasoning.
PROMPT = {"messages": [ASKED, CALLED, RESULT], "tools": [TOOL]}
ANSWER = {"role": "assistant", "content": "19 °C.", "reasoning_content": "Hm."}
NAMED = {**CALL, "id": "c1"}
PROMPT_WITH_IDS = {
    "messages": [ASKED, {"role": "assistant", "tool_calls": [NAMED]}, {**RESULT, "tool_call_id": "c1"}],
    "tools": [TOOL],
}


def texts(tmp_path, row: Any) -> tuple[Any, Any]:
    """The prompt and the completion of the first item, as JSON values."""
    path = tmp_path / "row.jsonl"
    path.write_text(json.dumps(row) + "\n")
    item = next(iter(importing.read(path)))
    assert isinstance(item, Imported | Registered), item
    document = (
        signals.document(item.event) if isinstance(item, Imported) else signals.completion_document(item.completion)
    )
    return document["prompt"], document["completion"]


def called(name: str = "function_call") -> dict[str, str]:
    return {"from": name, "value": json.dumps(FUNCTION)}


CHAT = [ASKED, CALLED, RESULT]
SHAREGPT = [{"from": "human", "value": "Weather in Lisbon?"}, called(), {"from": "observation", "value": "19 C"}]
SWIFT = [ASKED, {"role": "tool_call", "content": json.dumps(FUNCTION)}, {"role": "tool_response", "content": "19 C"}]
ROWS: dict[str, dict[str, Any]] = {
    "trl": {"prompt": CHAT, "completion": [ANSWER], "label": True, "tools": [TOOL]},
    "trl with tools as text": {"prompt": CHAT, "completion": [ANSWER], "label": True, "tools": json.dumps([TOOL])},
    "trl, a pair": {"prompt": CHAT, "chosen": [ANSWER], "rejected": "No.", "tools": [TOOL]},
    "trl, a pair without prompt": {"chosen": [*CHAT, ANSWER], "tools": [TOOL],
                                   "rejected": [*CHAT, {"role": "assistant", "content": "No."}]},
    "rows": {"kind": "rating", "prompt": CHAT, "completion": [ANSWER], "rating": 4, "tools": [TOOL]},
    "rows, an edit": {"kind": "edit", "prompt": CHAT, "completion": [ANSWER], "edit": "19.", "tools": [TOOL]},
    "messages": {"messages": [*CHAT, ANSWER], "label": True, "tools": [TOOL]},
    "ms-swift": {"messages": [*SWIFT, ANSWER], "label": True, "tools": json.dumps([TOOL])},
    "sharegpt": {"conversations": SHAREGPT, "chosen": ANSWER, "rejected": {"from": "gpt", "value": "No."},
                 "tools": json.dumps([TOOL])},
    "openai-preference": {"input": {"messages": CHAT, "tools": [TOOL]}, "preferred_output": [ANSWER],
                          "non_preferred_output": [{"role": "assistant", "content": "No."}]},
    "openai-weighted": {"messages": [*CHAT, {**ANSWER, "weight": 1}], "tools": [TOOL]},
    "halos": {"type": "binary_feedback", "prompt": CHAT, "output": [ANSWER], "label": 1, "tools": [TOOL]},
    "table": {"prompt": CHAT, "response": ANSWER, "feedback": "up", "tools": [TOOL]},
}  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_tools_calls_and_reasoning_of_rows_are_kept(tmp_path, name):
    assert texts(tmp_path, ROWS[name]) == (PROMPT, ANSWER)


def langchain(kind: str, **fields: Any) -> dict[str, Any]:
    return {"lc": 1, "type": "constructor", "id": ["langchain", "schema", kind], "kwargs": fields}


def langsmith(given: Any, output: Any) -> dict[str, Any]:
    extra = {"invocation_params": {"tools": [TOOL]}}
    return {"id": "r", "run_type": "llm", "inputs": {"messages": [given]}, "outputs": output, "extra": extra}


def otel(role: str, *parts: dict[str, Any]) -> dict[str, Any]:
    return {"role": role, "parts": list(parts)}


OPENAI_CHAT = [ASKED, {"role": "assistant", "content": None, "tool_calls": [NAMED]}, {**RESULT, "tool_call_id": "c1"}]
BY_ANTHROPIC = [
    ASKED,
    {"role": "assistant", "content": [
        {"type": "tool_use", "id": "c1", "name": "weather", "input": {"city": "Lisbon"}}]},
    {"role": "user", "content": [
        {"type": "tool_result", "tool_use_id": "c1", "content": [{"type": "text", "text": "19 C"}]}]},
]  # fmt: skip
TRACES: dict[str, dict[str, Any]] = {
    "openai-completions": {
        "id": "c", "object": "chat.completion", "input": OPENAI_CHAT, "tools": [TOOL],
        "choices": [{"index": 0, "message": {**ANSWER, "refusal": None, "annotations": []}}],
    },
    "langfuse": {"id": "o", "traceId": "t", "type": "GENERATION", "input": {"messages": OPENAI_CHAT, "tools": [TOOL]},
                 "output": ANSWER},
    "langfuse, Anthropic's parts": {
        "id": "o", "traceId": "t", "type": "GENERATION", "input": {"messages": BY_ANTHROPIC, "tools": [TOOL]},
        "output": {"role": "assistant", "content": [{"type": "thinking", "thinking": "Hm."},
                                                    {"type": "text", "text": "19 °C."}]},
    },
    "langfuse, OpenAI's responses": {
        "id": "o", "traceId": "t", "type": "GENERATION",
        "input": {"input": [ASKED, {"type": "function_call", "call_id": "c1", **FUNCTION},
                            {"type": "function_call_output", "call_id": "c1", "output": "19 C"}], "tools": [TOOL]},
        "output": [{"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}]},
                   {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "19 °C."}]}],
    },
    "langsmith, LangChain's messages": langsmith(
        [langchain("HumanMessage", content="Weather in Lisbon?"),
         langchain("AIMessage", content=[], tool_calls=[{"name": "weather", "args": {"city": "Lisbon"}, "id": "c1",
                                                         "type": "tool_call"}], invalid_tool_calls=[]),
         langchain("ToolMessage", content="19 C", tool_call_id="c1")],
        {"generations": [[{"text": "19 °C.", "message": langchain(
            "AIMessage", content="19 °C.", additional_kwargs={"reasoning_content": "Hm."})}]]},
    ),
    "phoenix, OpenTelemetry's parts": {
        "name": "llm", "span_kind": "LLM", "context": {"trace_id": "t", "span_id": "s1"}, "attributes": {
            "input.value": json.dumps({"tools": [TOOL], "messages": [
                otel("user", {"type": "text", "content": "Weather in Lisbon?"}),
                otel("assistant", {"type": "tool_call", "id": "c1", **FUNCTION}),
                otel("tool", {"type": "tool_call_response", "id": "c1", "response": "19 C"})]}),
            "output.value": json.dumps([otel("assistant", {"type": "reasoning", "content": "Hm."},
                                             {"type": "text", "content": "19 °C."})]),
        },
    },
    "tensorzero": {
        "id": "i", "function_name": "f",
        "input": json.dumps({"messages": [
            {"role": "user", "content": [{"type": "text", "text": "Weather in Lisbon?"}]},
            {"role": "assistant", "content": [{"type": "tool_call", "id": "c1", **FUNCTION}]},
            {"role": "user", "content": [{"type": "tool_result", "id": "c1", "name": "weather", "result": "19 C"}]}]}),
        "output": json.dumps([{"type": "thought", "text": "Hm."}, {"type": "text", "text": "19 °C."}]),
        "tool_params": json.dumps({"tools_available": [TOOL], "tool_choice": "auto"}),
    },
}  # fmt: skip


@pytest.mark.parametrize("name", TRACES)
def test_tools_calls_and_reasoning_of_traces_are_kept(tmp_path, name):
    assert texts(tmp_path, TRACES[name]) == (PROMPT_WITH_IDS, ANSWER)


@pytest.mark.parametrize(
    "output",
    [
        {"role": "assistant", "content": None, "tool_calls": [NAMED]},
        {"choices": [{"message": {"role": "assistant", "content": None, "tool_calls": [NAMED]}}]},
        [{"type": "tool_call", "id": "c1", "raw_name": "weather", **FUNCTION}],
        {"tool_calls": [{"id": "c1", "name": "weather", "args": {"city": "Lisbon"}}]},
    ],
)
def test_an_output_that_only_calls_a_tool_is_an_answer_after_messages(tmp_path, output):
    row = {"id": "o", "traceId": "t", "input": "Weather in Lisbon?", "output": output}

    assert texts(tmp_path, row) == ([ASKED], {"role": "assistant", "tool_calls": [NAMED]})


def test_parts_of_a_message_are_kept_and_the_reason_why_no_run_learns_from_images_is_counted(tmp_path):
    image = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
    parts = [{"type": "text", "text": "What is it?"}, image]
    row = {"prompt": [{"role": "user", "content": parts}], "completion": "A cat.", "label": True}
    trace = {"id": "o", "traceId": "t", "input": row["prompt"], "output": "A cat."}
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row) + "\n" + json.dumps(trace) + "\n")

    for item in importing.read(path):
        assert isinstance(item, Imported | Registered)
        body = item.event if isinstance(item, Imported) else item.completion
        assert [message.model_dump(exclude_none=True) for message in body.prompt] == row["prompt"]  # type: ignore[union-attr]
        assert item.fault is not None
        assert item.fault.reason == "media_content"


def test_blocks_of_open_webui_become_calls_results_and_reasoning(tmp_path):
    arguments = html.escape(json.dumps(json.dumps({"city": "Lisbon"})))
    content = (
        '<details type="reasoning" done="true" duration="1">\n<summary>Thought for 1 second</summary>\n'
        "&gt; I need\n&gt; the weather.\n</details>\n"
        f'<details type="tool_calls" done="true" id="c1" name="weather" arguments="{arguments}" '
        f'result="{html.escape(json.dumps("19 C"))}" files="">\n<summary>Tool Executed</summary>\n</details>\n'
        '<details type="reasoning" done="true"><summary>Thought</summary>\n&gt; Hm.\n</details>\n19 °C.'
    )
    messages = {
        "q": {"id": "q", "parentId": None, "role": "user", "content": "Weather in Lisbon?"},
        "a": {"id": "a", "parentId": "q", "role": "assistant", "content": content, "annotation": {"rating": 1}},
    }
    call = {**NAMED, "function": {"name": "weather", "arguments": '{"city": "Lisbon"}'}}

    prompt, answer = texts(tmp_path, {"id": "c1", "chat": {"history": {"messages": messages}}})

    assert prompt == [
        ASKED,
        {"role": "assistant", "content": "", "reasoning_content": "I need\nthe weather.", "tool_calls": [call]},
        {**RESULT, "tool_call_id": "c1"},
    ]
    assert answer == ANSWER


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"prompt": "Hi", "completion": "A", "label": True, "tools": "{"}, "tools is a text that is not JSON"),
        ({"prompt": "Hi", "completion": "A", "label": True, "tools": {"f": 1}}, "must be a list of JSON schemas"),
        ({"prompt": "Hi", "completion": "A", "label": True, "tools": [{}]}, "/prompt/tools/0"),
        ({"prompt": "Hi", "chosen": "A", "rejected": [CALLED]}, "the other answer has tool_calls: only a text"),
        ({"conversations": [*SHAREGPT[:1], {"from": "function_call", "value": "weather"}], "label": True},
         "a turn that calls a tool is no JSON object with name and arguments"),
        ({"target_id": "i", "metric_name": "demonstration", "value": [{"type": "tool_call", **FUNCTION}]},
         "the demonstration has tool_calls: only a text"),
        ({"id": "o", "traceId": "t", "input": [{"role": "user", "content": [{"type": "text"}]}], "output": "A"},
         "message 0 of the input has a part without its text"),
        ({"prompt": 1, "completion": "A", "label": True, "tools": [TOOL]}, "neither a text nor a list of messages"),
        ({"messages": [None, {**ANSWER, "weight": 1}]}, "/prompt/0"),
        ({"id": "o", "traceId": "t", "input": "Hi", "output": [ASKED, ANSWER]}, "has 2 items: only one message"),
    ],
)  # fmt: skip
def test_what_no_event_can_hold_is_rejected_with_the_reason(tmp_path, row, words):
    path = tmp_path / "row.jsonl"
    path.write_text(json.dumps(row) + "\n")

    [item] = importing.read(path)

    assert isinstance(item, Rejected)
    assert words in item.reason


def test_a_rejected_answer_in_parts_is_its_text(tmp_path):
    parts = [{"type": "text", "text": "No"}, {"type": "text", "text": "way."}]
    row = {"prompt": "Hi", "chosen": "Yes.", "rejected": [{"role": "assistant", "content": parts}]}
    path = tmp_path / "row.jsonl"
    path.write_text(json.dumps(row) + "\n")

    [item] = importing.read(path)

    assert isinstance(item, Imported)
    assert item.event.signal.rejected == "No\nway."  # type: ignore[union-attr]
