"""Tool calls, reasoning, refusals and parts: how pieces are put together, and what is registered of them."""

import json
from uuid import uuid4

import pytest

from app.gateway.answers import GatewayAnswer
from app.gateway.requests import CHAT_PATH, OpenAIRequest
from app.gateway.written import Unregistrable, WrittenCompletion, size_of
from tests.desk import DESK

TOOLS = [
    {
        "type": "function",
        "function": {"name": "track", "parameters": {"type": "object", "properties": {"parcel": {"type": "integer"}}}},
    }
]
MESSAGES = [
    {"role": "developer", "content": "Be brief."},
    {
        "role": "user",
        "name": "Ann",
        "content": [
            {"type": "text", "text": "Where are these?"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"}},
        ],
    },
    {
        "role": "assistant",
        "reasoning_content": "6 first.",
        "tool_calls": [
            {"id": "call-0", "type": "function", "function": {"name": "track", "arguments": '{"parcel":6}'}}
        ],
    },
    {"role": "tool", "tool_call_id": "call-0", "content": [{"type": "text", "text": "in Leeds"}]},
]


def piece(arguments="", **more):
    name = more.pop("name", None)
    return {"tool_calls": [{"index": 0, **more, "function": {"name": name, "arguments": arguments}}]}


PIECES = (
    {"reasoning": "Two "},
    {"reasoning": "parcels."},
    {"content": "One moment."},
    piece(id="call-1", type="function", name="track"),
    piece('{"par'),
    piece('cel":7}'),
    piece('{"parcel":8}', index=1, id="call-2", name="track"),
)
CALLS = [
    {"id": f"call-{number}", "type": "function", "function": {"name": "track", "arguments": f'{{"parcel":{parcel}}}'}}
    for number, parcel in ((1, 7), (2, 8))
]
ANSWER = {"role": "assistant", "content": "One moment.", "reasoning_content": "Two parcels.", "tool_calls": CALLS}


def test_a_streamed_tool_call_is_registered_whole_with_the_messages_and_tools_of_its_prompt(serve):
    served = serve("gpu", deltas=PIECES)

    with served.openai.chat.completions.create(
        model=DESK, messages=MESSAGES, tools=TOOLS, tool_choice="auto", stream=True
    ) as stream:
        chunks = list(stream)

    assert [chunk.choices[0].delta.tool_calls[0].function.arguments for chunk in chunks[3:]] == [
        "", '{"par', 'cel":7}', '{"parcel":8}',
    ]  # fmt: skip
    stored = served.registered(chunks[0].id)
    assert (stored.completion, stored.prompt) == (ANSWER, {"messages": MESSAGES, "tools": TOOLS})
    assert (len(stored.token_ids), len(stored.log_probs)) == (len(PIECES), len(PIECES))
    assert stored.sampling["tool_choice"] == "auto"


def written(*pieces, ended=None, finish_reason=None, usage=None, whole=False, **body):
    """Returns what is registered of an answer in these pieces, each of one token."""
    request = OpenAIRequest(
        CHAT_PATH, {"messages": [{"role": "user", "content": "?"}], **body}, DESK, not whole, 1, 1, None, None, None
    )
    answer = GatewayAnswer(request, "id")
    for number, delta in enumerate(pieces, 1):
        choice = {
            "index": 0, "message" if whole else "delta": delta, "token_ids": [number],
            "finish_reason": finish_reason if number == len(pieces) else None,
        }  # fmt: skip
        answer.rewritten(json.dumps({"choices": [choice], "usage": usage}).encode())
    output = answer.outputs()[0]
    return WrittenCompletion(DESK, "id", request, 0, output, uuid4(), "gpu", "m", ended, size_of(1, output)).body()


def sent(completion):
    return completion.completion.model_dump(exclude_none=True)


def test_an_answer_that_is_not_streamed_is_registered_as_one_that_is():
    body = written(ANSWER, whole=True, finish_reason="tool_calls", usage={"completion_tokens": 1})

    assert (sent(body), body.token_ids) == (ANSWER, [1])
    assert sent(written(*PIECES, finish_reason="tool_calls")) == ANSWER


@pytest.mark.parametrize(
    ("pieces", "how"),
    [
        ([piece('{"par', name="track")], {"ended": "client_closed"}),
        ([piece('{"par', name="track")], {"finish_reason": "length"}),
        ([piece(name="tra")], {"ended": "target_cut"}),
        ([*PIECES, piece(name="track", index=2)], {"finish_reason": "length"}),
        ([piece("[7]", name="track")], {"finish_reason": "tool_calls"}),
        ([piece("{}")], {"finish_reason": "tool_calls"}),
    ],
)
def test_a_call_that_is_not_whole_is_not_registered(pieces, how):
    with pytest.raises(Unregistrable, match="broken_call"):
        written(*pieces, **how)


def test_a_call_needs_no_arguments_and_those_before_a_cut_are_kept():
    assert sent(written(piece(name="now"), finish_reason="tool_calls"))["tool_calls"][0]["function"]["arguments"] == ""
    assert sent(written(*PIECES, ended="client_closed")) == ANSWER


def test_reasoning_and_refusals_are_part_of_the_message():
    twice = {"reasoning": "Hm.", "reasoning_content": "Hm."}  # as servers send it whose field was renamed

    assert sent(written(twice, {"content": "Yes."})) == {
        "role": "assistant", "content": "Yes.", "reasoning_content": "Hm.",
    }  # fmt: skip
    assert sent(written({"refusal": "I "}, {"refusal": "cannot."})) == {"role": "assistant", "refusal": "I cannot."}
    assert written({"content": "Yes.", "reasoning": None, "tool_calls": []}).completion == "Yes."


def test_tokens_of_reasoning_are_kept_only_if_the_server_counts_as_many():
    pieces = ({"reasoning": "Hm."}, {"content": "Yes."})

    assert written(*pieces, usage={"completion_tokens": 2}).token_ids == [1, 2]
    assert written(*pieces, usage={"completion_tokens": 3}).token_ids is None  # the parser took one
    assert written(*pieces).token_ids is None
    assert written(*pieces, usage={"completion_tokens": 2}, include_reasoning=False).token_ids is None


@pytest.mark.parametrize(
    ("reason", "pieces"),
    [
        ("empty", [{"reasoning": "Hm."}]),
        ("too_large", [{"reasoning": "x" * 90_000}] * 3),
        ("too_large", [{"content": "x" * 90_000}, *[piece("x" * 90_000, name="track")] * 2]),
        ("too_large", [piece("{}", name="track", index=index) for index in range(129)]),
        ("unsupported_content", [{"content": "x", "function_call": {"name": "track"}}]),
        ("unsupported_content", [{"tool_calls": [{"id": "1", "type": "custom", "custom": {"name": "sql"}}]}]),
        ("unsupported_content", [{"tool_calls": {"id": "1"}}, {"reasoning": {"text": "Hm."}}]),
    ],
)
def test_what_cannot_be_registered_is_told_apart(reason, pieces):
    with pytest.raises(Unregistrable, match=reason):
        written(*pieces)


@pytest.mark.parametrize(
    ("reason", "body"),
    [
        ("unsupported_content", {"tools": [{"type": "custom", "custom": {"name": "sql"}}]}),
        ("unsupported_content", {"tools": "track"}),
        ("unsupported_content", {"functions": [{"name": "track"}]}),
        ("unsupported_content", {"messages": [{"role": "assistant", "function_call": {"name": "track"}}]}),
        ("too_large", {"messages": [{"role": "user", "content": [{"type": "text", "text": "x" * 200_001}]}]}),
    ],
)
def test_prompts_that_the_log_cannot_hold_are_told_apart(reason, body):
    with pytest.raises(Unregistrable, match=reason):
        written({"content": "Yes."}, **body)
