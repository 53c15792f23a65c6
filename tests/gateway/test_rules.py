"""Pure rules of the gateway: splitting streams, prompts of the log, rests of targets, kept facts."""

import asyncio
import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from thumbwheel.openai_shape.prompts import NotStorable, prompt_of

from app.errors import Unauthenticated, Unavailable
from app.gateway.answers import GatewayAnswer
from app.gateway.callers import secret_of
from app.gateway.counters import Counters
from app.gateway.event_stream import EventLines, LineTooLong, data_of
from app.gateway.kept import KeptFacts
from app.gateway.openai_errors import of_target
from app.gateway.requests import CHAT_PATH, OpenAIRequest, sent_to_target
from app.gateway.rests import LONGEST_SECONDS, Rests
from app.metrics.families import visible_to

STREAM = b': ping\r\n\r\ndata: {"a": "\xc3\xa9"}\n\ndata:{"b": 1}\r\n\r\ndata: [DONE]\n\n'


@given(st.lists(st.integers(0, len(STREAM)), max_size=8))
def test_a_stream_gives_the_same_lines_wherever_it_is_cut(cuts):
    lines, splits = EventLines(), [0, *sorted(cuts), len(STREAM)]

    received = [
        line for begin, end in itertools.pairwise(splits) for line in lines.lines(STREAM[begin:end])
    ] + lines.end()

    assert [data_of(line) for line in received] == [None, b'{"a": "\xc3\xa9"}', b'{"b": 1}', b"[DONE]"]


class Piece(bytes):
    """A piece of a stream that counts the bytes that are searched for the ends of lines."""

    searched = 0

    def __radd__(self, before):
        return Piece(before + bytes(self))

    def split(self, *arguments):
        Piece.searched += len(self)
        return super().split(*arguments)


def test_each_byte_of_a_long_line_in_small_pieces_is_read_once():
    lines = EventLines()

    received = [line for _ in range(1000) for line in lines.lines(Piece(b"x" * 10))]
    received += lines.lines(Piece(b"\nrest"))

    assert received == [b"x" * 10_000]
    assert lines.end() == [b"rest"]
    assert Piece.searched == 10_005


def test_a_line_without_an_end_is_refused():
    with pytest.raises(LineTooLong):
        EventLines().lines(b"x" * 9_000_000)


def chat(**body):
    return OpenAIRequest(CHAT_PATH, body, "desk", bool(body.get("stream")), body.get("n", 1), 1, None, None, None)


def chunk(*, tokens, log_probs, usage=None, **delta):
    content = [{"token": "x", "logprob": log_prob} for log_prob in log_probs]
    choice = {"index": 0, "delta": {"content": "x", **delta}, "logprobs": {"content": content}, "token_ids": tokens}
    return json.dumps({"id": "s", "model": "m", "choices": [choice], "usage": usage}).encode()


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        ({}, ([5, 6], [-1.0, -2.0])),
        ({"usage": {"completion_tokens": 2}}, ([5, 6], [-1.0, -2.0])),
        ({"usage": {"completion_tokens": 3}}, ([], [])),  # a token is in no chunk
        ({"log_probs": [-1.0]}, ([], [])),
        ({"log_probs": []}, ([5, 6], [])),
        ({"tokens": []}, ([], [])),
        ({"reasoning": "hm"}, ([], [])),
    ],
)
def test_tokens_are_kept_only_one_to_one_with_log_probs_and_text(changes, kept):
    answer = GatewayAnswer(chat(stream=True), "id")
    answer.rewritten(chunk(**{"tokens": [5, 6], "log_probs": [-1.0, -2.0], **changes}))

    output = answer.outputs()[0]

    assert (output.token_ids, output.log_probs, output.text) == (*kept, "x")


def test_a_text_that_is_too_long_for_the_log_is_not_kept_in_memory():
    answer = GatewayAnswer(chat(stream=True), "id")
    for _ in range(3):
        answer.rewritten(chunk(tokens=[1], log_probs=[-1.0], content="x" * 90_000))

    assert (answer.outputs()[0].unfit, answer.outputs()[0].text) == ("too_large", "")


def test_a_server_gets_neither_people_nor_another_model_nor_other_hosts():
    body = {
        "model": "desk", "user": "u", "safety_identifier": "u", "metadata": {"a": "b"}, "store": True,
        "lora_path": "other", "kv_transfer_params": {"remote_host": "x"}, "bootstrap_host": "x", "rid": "r",
        "top_k": 5, "stream": True, "stream_options": {"continuous_usage_stats": True},
    }  # fmt: skip
    assert json.loads(sent_to_target(chat(**body), "base:adapter", "vllm")) == {
        "model": "base:adapter", "top_k": 5, "stream": True, "logprobs": True, "return_token_ids": True,
        "stream_options": {"continuous_usage_stats": True, "include_usage": True},
    }  # fmt: skip


def test_messages_of_an_earlier_answer_become_those_of_the_log():
    calls = [{"index": 0, "id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    unset = {"content": None, "refusal": None, "annotations": [], "reasoning": ""}
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {"role": "assistant", **unset, "tool_calls": calls},
        {"role": "tool", "tool_call_id": "1", "content": ""},
        {"role": "assistant", "reasoning": "hm", "content": None},
    ]

    assert prompt_of({"messages": messages, "tools": []}, 0, 1, chat=True) == [
        messages[0],
        {"role": "assistant", "tool_calls": [{key: value for key, value in calls[0].items() if key != "index"}]},
        messages[2],
        {"role": "assistant", "reasoning": "hm", "content": ""},
    ]


@pytest.mark.parametrize("body", [{"prompt": [1, 2]}, {"prompt": "x", "suffix": "y"}, {"prompt": None}, {}])
def test_prompts_that_the_log_has_no_place_for_are_told_apart(body):
    with pytest.raises(NotStorable):
        prompt_of(body, 0, 1, chat=False)


def test_each_choice_belongs_to_its_prompt():
    body = {"prompt": ["a", "b"]}
    assert [prompt_of(body, index, 2, chat=False) for index in range(4)] == ["a", "a", "b", "b"]


def test_a_target_rests_twice_as_long_after_each_failure_in_a_row():
    now = 0.0
    rests = Rests(lambda: now)
    lengths = []
    for _ in range(7):
        assert rests.failed("gpu", "it is away")
        assert not rests.failed("gpu", "so is it for the request beside")
        began = now
        while rests.rests("gpu"):
            now += 0.5
        lengths.append(now - began)

    assert lengths == [1, 2, 4, 8, 16, LONGEST_SECONDS, LONGEST_SECONDS]
    rests.answered("gpu")
    rests.failed("gpu", "again")
    assert rests.reasons() == {"gpu": "again"}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"error": {"message": "too long", "code": 400}}', "too long"),
        (b'{"error": "too long"}', "too long"),
        (b'{"message": "too long"}', "too long"),
        (b'{"detail": [{"msg": "too long"}]}', '[{"msg":"too long"}]'),
        (b"<html>", "The server that serves the model answered 422."),
        (b"\xff", "The server that serves the model answered 422."),
    ],
)
def test_a_refusal_has_one_shape_whatever_the_server_answers(body, message):
    error = json.loads(of_target(422, body).body)["error"]

    assert (error["message"], error.keys()) == (message, {"message", "type", "param", "code"})


def test_a_kept_fact_holds_without_postgres_for_its_time_and_no_longer():
    now, answers, reads = 1000.0, {"key": "caller"}, []

    async def read(key):
        reads.append(key)
        answer = answers[key]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def story():
        nonlocal now
        facts = KeptFacts(read, 600, lambda: now)
        assert await facts.get("key") == await facts.get("key") == "caller"
        assert reads == ["key"]

        answers["key"] = Unavailable("away", code="database_unavailable")
        now += 500
        assert await facts.get("key") == "caller"  # found out by itself
        facts.away = True
        assert (await facts.get("key"), len(reads)) == ("caller", 2)  # told, so it does not ask
        now += 101
        with pytest.raises(Unavailable, match="for long"):
            await facts.get("key")

        answers["key"] = "caller"
        facts.away = False
        assert await facts.get("key") == "caller"
        facts.take({"key": None})  # revoked, as the background finds out
        answers["key"] = Unauthenticated("revoked", code="closed_key")
        with pytest.raises(Unauthenticated):
            await facts.get("key")

    asyncio.run(story())


def test_a_key_of_one_project_sees_no_target_of_another_in_the_metrics():
    counters = Counters()
    counters.target_failed("desk", "gpu")

    def targets(project):
        families = visible_to(counters.registry.collect(), project)
        return {
            sample.labels["target"] for family in families for sample in family.samples if "target" in sample.labels
        }

    assert (targets("desk"), targets("other")) == ({"gpu"}, set())


def test_a_key_is_one_key_however_its_header_is_written():
    assert {secret_of(header) for header in (b"Bearer tw_1", b"bearer   tw_1 ")} == {"tw_1"}
    with pytest.raises(Unauthenticated):
        secret_of(b"Basic tw_1")
