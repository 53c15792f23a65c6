"""Wrapped clients of `openai`: answers, chunks and errors stay as they are, and completions are registered."""

import asyncio
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from thumbwheel import FeedbackQueue, Undelivered, last_completion_id, wrap_openai

from tests.client.faulty_api import FaultyApi
from tests.gateway.openai_server import ModelServer, model_server

TOOL = {"type": "function", "function": {"name": "track", "parameters": {"type": "object"}}}
CALL = {"id": "t1", "type": "function", "function": {"name": "track", "arguments": '{"parcel": 7}'}}
PIECES = (
    {"reasoning_content": "Parcel 7."},
    {"tool_calls": [{"index": 0, "id": "t1", "type": "function", "function": {"name": "track", "arguments": ""}}]},
    {"tool_calls": [{"index": 0, "function": {"arguments": '{"parcel":'}}]},
    {"tool_calls": [{"index": 0, "function": {"arguments": " 7}"}}]},
)


@pytest.fixture
def model() -> Iterator[ModelServer]:
    with model_server() as server:
        yield server


@pytest.fixture
def thumbs(faulty) -> Iterator[FeedbackQueue]:
    with FeedbackQueue(faulty.url, interval=0, raise_errors=True) as queue:
        yield queue


@pytest.fixture
def wrapped(model, thumbs) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{model.url}/v1", api_key="k", max_retries=0) as client:
        yield wrap_openai(client, thumbs)


@pytest.fixture
def bare(model) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{model.url}/v1", api_key="k", max_retries=0) as client:
        yield client


def asked(**more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": "Where is it?"}], **more}


def test_an_answer_is_what_it_is_without_us_and_registered_by_its_id(bare, wrapped, thumbs, faulty):
    request = asked(temperature=0.5, extra_headers={"X-Thumbwheel-Conversation": "chat-1"}, metadata={"page": "3"})
    messages = request["messages"]

    answer = wrapped.chat.completions.create(**request)
    messages.append({"role": "assistant", "content": answer.choices[0].message.content})
    assert thumbs.flush(20)

    assert answer == bare.chat.completions.create(**request)
    assert last_completion_id() == answer.id
    assert faulty.completions == {
        answer.id: {
            "prompt": [{"role": "user", "content": "Where is it?"}],
            "completion": "It left this morning.",
            "conversation_id": "chat-1",
            "sampling": {"temperature": 0.5, "model": "m", "finish_reason": "stop"},
            "metadata": {"page": "3"},
        }
    }


def test_choices_with_tool_calls_are_completions_of_their_own(model, wrapped, thumbs, faulty):
    model.chat_extra = {"content": None, "tool_calls": [CALL]}
    first = wrapped.chat.completions.create(**asked(tools=[TOOL], n=2))
    model.chat_extra = {}
    history = [
        *asked()["messages"],
        first.choices[0].message,
        {"role": "tool", "tool_call_id": "t1", "content": "Leeds"},
    ]

    wrapped.chat.completions.create(**asked(messages=history), extra_headers={"X-Thumbwheel-Completion-Id": "mine"})
    assert thumbs.flush(20)

    assert set(faulty.completions) == {"server-id-0", "server-id-1", "mine"}
    assert faulty.completions["server-id-1"]["prompt"] == {"messages": asked()["messages"], "tools": [TOOL]}
    assert faulty.completions["server-id-1"]["completion"] == {"role": "assistant", "tool_calls": [CALL]}
    assert faulty.completions["mine"]["prompt"][1]["tool_calls"] == [CALL]


@pytest.mark.parametrize("pieces", [(), PIECES])
def test_chunks_of_a_stream_are_what_they_are_without_us(model, bare, wrapped, thumbs, faulty, pieces):
    model.deltas = pieces

    stream = wrapped.chat.completions.create(**asked(stream=True))
    chunks = list(stream)
    assert thumbs.flush(20)

    assert isinstance(stream, openai.Stream)
    assert stream.response.status_code == 200
    assert chunks == list(bare.chat.completions.create(**asked(stream=True)))
    message = {"role": "assistant", "reasoning_content": "Parcel 7.", "tool_calls": [CALL]}
    assert faulty.completions["server-id"]["completion"] == (message if pieces else "It left this morning.")


def test_an_abandoned_stream_is_registered_as_far_as_it_came(wrapped, thumbs, faulty):
    with wrapped.chat.completions.create(**asked(stream=True)) as stream:
        next(stream)
        next(stream)
    assert thumbs.flush(20)

    assert faulty.completions["server-id"]["completion"] == "It left "
    assert faulty.completions["server-id"]["sampling"]["finish_reason"] == "client_closed"
    for _ in wrapped.chat.completions.create(**asked(stream=True), extra_headers={"X-Thumbwheel-Completion-Id": "2"}):
        break
    assert thumbs.flush(20)
    assert faulty.completions["2"]["completion"] == "It "


def test_a_call_that_a_broken_stream_cut_is_told_and_not_registered(model, bare, faulty):
    undelivered: list[Undelivered] = []
    model.deltas, model.cut_after = PIECES, 3
    with FeedbackQueue(faulty.url, on_error=undelivered.append) as thumbs:
        stream = wrap_openai(bare, thumbs).chat.completions.create(**asked(stream=True))
        with pytest.raises(openai.APIConnectionError):
            list(stream)

    assert [(item.id, item.code) for item in undelivered] == [("server-id", "broken_call")]
    assert faulty.completions == {}


def test_an_error_of_the_model_server_is_the_product_s_own_and_one_of_ours_is_not(model, bare):
    with FeedbackQueue("http://127.0.0.1:1", close_seconds=0) as thumbs:
        client = wrap_openai(bare, thumbs)
        model.status = 429
        with pytest.raises(openai.RateLimitError):
            client.chat.completions.create(**asked())
        with pytest.raises(TypeError):
            client.chat.completions.create(model="m")
        model.status = 0
        answer = client.chat.completions.create(**asked())

    assert answer.choices[0].message.content == "It left this morning."
    assert (thumbs.figures.stored, thumbs.figures.lost) == (0, 1)


def test_parts_of_a_request_that_can_be_read_only_once_are_left_to_the_call(model, wrapped, thumbs, faulty):
    content = ({"type": "text", "text": text} for text in ("Where ", "is it?"))
    wrapped.chat.completions.create(
        model="m", messages=[{"role": "user", "content": content}], tools=(tool for tool in [TOOL])
    )
    assert thumbs.flush(20)

    [body] = model.bodies
    assert [part["text"] for part in body["messages"][0]["content"]] == ["Where ", "is it?"]
    assert body["tools"] == [TOOL]
    assert faulty.completions == {}


def test_text_completions_of_several_prompts_keep_their_prompts(wrapped, thumbs, faulty):
    wrapped.completions.create(model="m", prompt="Once", max_tokens=4)
    stream = wrapped.completions.create(model="m", prompt=["Twice", "Thrice"], n=2, stream=True)
    assert len(list(stream)) == 4
    assert thumbs.flush(20)

    assert faulty.completions["server-id"]["prompt"] == "Once"
    assert [faulty.completions[f"server-id-{index}"]["prompt"] for index in range(2)] == ["Twice", "Twice"]


def test_helpers_of_the_package_and_copies_of_the_client_are_registered_too(wrapped, thumbs, faulty):
    def named(name: str) -> dict[str, Any]:
        return {"extra_headers": {"X-Thumbwheel-Completion-Id": name}}

    with wrapped.chat.completions.stream(**asked(), **named("helper")) as stream:
        assert stream.get_final_completion().choices[0].message.content == "It left this morning."
    wrapped.chat.completions.parse(**asked(), **named("parsed"))
    wrapped.with_options(timeout=5).chat.completions.create(**asked(), **named("copy"))
    raw = wrapped.chat.completions.with_raw_response.create(**asked(), **named("raw"))
    assert raw.parse().id == "server-id"
    assert wrap_openai(wrapped, thumbs) is wrapped
    assert thumbs.flush(20)

    assert set(faulty.completions) == {"helper", "parsed", "copy"}


def test_an_asynchronous_client_is_wrapped_the_same_way(model, thumbs, faulty):
    async def calls() -> None:
        async with AsyncOpenAI(base_url=f"{model.url}/v1", api_key="k", max_retries=0) as bare:
            client = wrap_openai(bare, thumbs)
            answer = await client.chat.completions.create(**asked())
            assert answer.choices[0].message.content == "It left this morning."
            assert last_completion_id() == "server-id"
            stream = await client.chat.completions.create(
                **asked(stream=True), extra_headers={"X-Thumbwheel-Completion-Id": "streamed"}
            )
            assert isinstance(stream, openai.AsyncStream)
            assert len([chunk async for chunk in stream]) == 4
            async with client.chat.completions.stream(
                **asked(), extra_headers={"X-Thumbwheel-Completion-Id": "stopped"}
            ) as helper:
                async for event in helper:
                    if event.type == "content.delta":
                        break
            del helper, stream

    asyncio.run(calls())
    assert thumbs.flush(20)

    assert set(faulty.completions) >= {"server-id", "streamed"}
    assert faulty.completions["streamed"]["completion"] == "It left this morning."


@pytest.mark.parametrize("kind", ["plain", "coroutine", "pieces", "asynchronous pieces"])
def test_a_decorated_function_registers_what_it_returns(thumbs: FeedbackQueue, faulty: FaultyApi, kind: str):
    ids: list[str | None] = []

    @thumbs.completion()
    def plain(messages: list[dict[str, str]]) -> str:
        ids.append(last_completion_id())
        messages.append({"role": "assistant", "content": "On its way."})
        return "On its way."

    @thumbs.completion(prompt="question", completion_id="message_id")
    async def coroutine(message_id: str, question: str) -> str:
        ids.append(message_id)
        return "On its way."

    @thumbs.completion()
    def pieces(question: str) -> Iterator[str]:
        ids.append(last_completion_id())
        yield from ("On its ", "way.")

    @thumbs.completion()
    async def asynchronous_pieces(question: str) -> Any:
        ids.append(last_completion_id())
        yield "On its "
        yield "way."

    async def collected() -> str:
        return "".join([piece async for piece in asynchronous_pieces("Where?")])

    calls = {
        "plain": lambda: plain([{"role": "user", "content": "Where?"}]),
        "coroutine": lambda: asyncio.run(coroutine("msg-1", question="Where?")),
        "pieces": lambda: "".join(pieces("Where?")),
        "asynchronous pieces": lambda: asyncio.run(collected()),
    }
    assert calls[kind]() == "On its way."
    assert thumbs.flush(20)

    [completion_id] = ids
    prompt = [{"role": "user", "content": "Where?"}] if kind == "plain" else "Where?"
    assert faulty.completions == {completion_id: {"prompt": prompt, "completion": "On its way."}}


def test_a_decorated_function_keeps_its_errors_and_is_told_of_a_missing_parameter(thumbs, faulty):
    @thumbs.completion()
    def fails(question: str) -> Iterator[str]:
        yield "On its "
        raise KeyError(question)

    with pytest.raises(KeyError):
        list(fails("Where?"))
    with pytest.raises(TypeError, match="question"):
        fails()
    with pytest.raises(TypeError, match="no parameter 'text'"):
        thumbs.completion(prompt="text")(fails)
    started = fails("Where?")
    next(started)
    started.close()
    assert thumbs.flush(20)

    [registered] = faulty.completions.values()
    assert registered["completion"] == "On its "
    assert registered["sampling"] == {"finish_reason": "client_closed"}
