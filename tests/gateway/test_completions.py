"""Completions through the gateway: what the caller sees, what the server is sent, and what is registered."""

import json
import time

import httpx
import pytest
from openai import APIStatusError, BadRequestError, NotFoundError
from thumbwheel import wire

from tests.desk import DESK
from tests.gateway.conftest import add_target, make_key

CHAT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Where is my parcel?"}]
ANSWER = "It left this morning."
TOKENS, LOG_PROBS = [1000, 1001, 1002, 1003], [-0.5, -1.5, -2.5, -3.5]


def test_the_openai_client_gets_an_answer_whose_id_is_that_of_the_registered_completion(serve):
    served = serve("gpu")

    answer = served.openai.chat.completions.create(
        model=DESK, messages=CHAT, temperature=0.7, seed=3, metadata={"country": "de"}, user="user-7",
        extra_headers={"X-Thumbwheel-Conversation": "c-1"},
    )  # fmt: skip

    assert (answer.choices[0].message.content, answer.model) == (ANSWER, DESK)
    assert answer.choices[0].logprobs is None
    assert "token_ids" not in answer.choices[0].model_extra
    stored = served.registered(answer.id)
    assert (stored.completion, stored.prompt) == (ANSWER, CHAT)
    assert (stored.token_ids, stored.log_probs) == (TOKENS, LOG_PROBS)
    assert (stored.checkpoint_id, stored.conversation_id, stored.metadata) == (served.live, "c-1", {"country": "de"})
    assert stored.sampling == {
        "temperature": 0.7, "seed": 3, "model": "model-gpu", "target": "gpu", "finish_reason": "stop",
    }  # fmt: skip
    [sent] = served.servers["gpu"].bodies
    assert (sent["model"], sent["logprobs"], sent["return_token_ids"]) == ("model-gpu", True, True)
    assert not {"user", "metadata"} & sent.keys()


def test_a_stream_passes_chunk_by_chunk_and_is_registered_whole(serve):
    served = serve("gpu", pause=0.03)

    began = time.monotonic()
    with served.openai.chat.completions.create(model=DESK, messages=CHAT, stream=True) as stream:
        first = next(iter(stream))
        first_after = time.monotonic() - began
        rest = list(stream)

    assert first_after < time.monotonic() - began - 0.05  # it came before the others were written
    chunks = [first, *rest]
    assert "".join(chunk.choices[0].delta.content for chunk in chunks) == ANSWER
    assert len({chunk.id for chunk in chunks}) == 1
    assert all(chunk.usage is None and chunk.choices[0].logprobs is None for chunk in chunks)
    stored = served.registered(first.id)
    assert (stored.completion, stored.token_ids, stored.log_probs) == (ANSWER, TOKENS, LOG_PROBS)


def test_log_probs_usage_and_token_ids_are_shown_to_a_caller_that_asks_for_them(serve):
    served = serve("gpu")

    chunks = list(
        served.openai.chat.completions.create(
            model=DESK, messages=CHAT, stream=True, logprobs=True, stream_options={"include_usage": True},
            extra_body={"return_token_ids": True},
        )
    )  # fmt: skip

    assert [chunk.choices[0].logprobs.content[0].logprob for chunk in chunks[:-1]] == LOG_PROBS
    assert [chunk.choices[0].token_ids for chunk in chunks[:-1]] == [[token] for token in TOKENS]
    assert chunks[-1].usage.completion_tokens == len(TOKENS)


@pytest.mark.parametrize("stream", [False, True])
def test_texts_are_completed_and_each_of_several_choices_has_an_id_of_its_own(serve, stream):
    served = serve("gpu")

    answer = served.post("/v1/completions", prompt="Dear customer,", n=2, stream=stream, messages=None)

    assert answer.status_code == 200, answer.text
    own = answer.headers["X-Thumbwheel-Completion-Id"]
    assert f'"completion_id":"{own}-1"' in answer.text
    assert (answer.headers["X-Thumbwheel-Checkpoint"], answer.headers["X-Thumbwheel-Release"]) == (
        str(served.live),
        "1",
    )
    for index in range(2):
        stored = served.registered(f"{own}-{index}")
        assert (stored.prompt, stored.completion, stored.log_probs) == ("Dear customer,", ANSWER, LOG_PROBS)


def test_the_callers_own_completion_id_is_taken(serve):
    served = serve("gpu")

    answer = served.post(headers={"X-Thumbwheel-Completion-Id": "msg-1042"})

    assert answer.json()["id"] == "msg-1042"
    assert served.registered("msg-1042").completion == ANSWER
    served.servers["gpu"].words = ("Something ", "else.")
    served.post(headers={"X-Thumbwheel-Completion-Id": "msg-1042"})
    assert served.unregistered() == {"conflict": 1}


def test_tokens_that_are_not_one_to_one_with_the_text_are_left_out(serve):
    served = serve("gpu", short=True)

    stored = served.registered(served.post().json()["id"])

    assert (stored.completion, stored.token_ids, stored.log_probs) == (ANSWER, None, None)


@pytest.mark.parametrize(
    ("kind", "stream", "asked"),
    [
        ("sglang", False, {"logprobs": True, "return_token_ids": True}),
        ("sglang", True, {"stream_options": {"include_usage": True}}),
        ("transformers", True, {}),
    ],
)
def test_a_server_is_asked_only_for_what_its_kind_gives(serve, kind, stream, asked):
    served = serve("gpu", kind=kind)

    served.post(stream=stream)

    [sent] = served.servers["gpu"].bodies
    assert {name: sent[name] for name in sent if name not in ("model", "messages", "stream")} == asked


@pytest.mark.parametrize(
    "body",
    [
        {"functions": [{"name": "look"}]},
        {"messages": [{"role": "function", "content": "x", "name": "f"}]},
    ],
)
def test_what_the_log_cannot_hold_is_answered_and_counted(serve, body):
    served = serve("gpu")

    assert served.post(**body).status_code == 200
    assert served.unregistered() == {"unsupported_content": 1}


def test_legacy_calls_and_empty_answers_are_counted(serve):
    served = serve("gpu", chat_extra={"function_call": {"name": "look"}})
    served.post()
    assert served.unregistered() == {"unsupported_content": 1}

    served.servers["gpu"].chat_extra, served.servers["gpu"].words = {}, (" ",)
    served.post()
    while "empty" not in served.unregistered():
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("content", "status", "param"),
    [
        (b"{", 400, None),
        (b"[]", 400, None),
        (b'{"messages": []}', 400, "model"),
        (b'{"model": "desk", "stream": "yes"}', 400, "stream"),
        (b'{"model": "desk", "n": 0}', 400, "n"),
        (b'{"model": "desk", "metadata": ["a"]}', 400, "metadata"),
        (b'{"model": "desk", "n": 1000}', 400, "n"),
        (b'{"model": "gpt-5"}', 404, None),
        (b'{"model": "desk", "messages": ' + b"[" * 200 + b"]" * 200 + b"}", 400, None),
        (b'{"model": "desk", "prompt": "' + b"x" * 5_000_000 + b'"}', 413, None),
    ],
)
def test_bad_input_is_refused_in_openais_shape(serve, content, status, param):
    served = serve("gpu")
    headers = {"Authorization": f"Bearer {served.key}", "Content-Type": "application/json"}

    refused = httpx.post(f"{served.url}/v1/chat/completions", content=content, headers=headers, timeout=30)

    error = refused.json()["error"]
    assert (refused.status_code, error["param"]) == (status, param), refused.text
    assert error["message"]
    assert {"message", "type", "code", "param"} == error.keys()
    assert served.servers["gpu"].bodies == []


def test_other_types_methods_and_headers_are_refused(serve):
    served = serve("gpu")
    key = {"Authorization": f"Bearer {served.key}"}
    url = f"{served.url}/v1/chat/completions"

    assert httpx.get(url, headers=key).status_code == 405
    packed = {**key, "Content-Type": "application/json", "Content-Encoding": "gzip"}
    assert httpx.post(url, content=b"\x1f\x8b", headers=packed).json()["error"]["code"] == "not_json"
    long = served.post(headers={"X-Thumbwheel-Conversation": "c" * 200})
    assert (long.status_code, long.json()["error"]["param"]) == (400, "x-thumbwheel-conversation")


def test_keys_without_the_scope_or_unknown_ones_are_refused(serve):
    served = serve("gpu")
    served.key = make_key("feedback:write", "runs:read")
    assert (served.post().status_code, served.figures()["postgres"]) == (403, "ok")
    served.key = "tw_unknown"
    assert (served.post().status_code, served.post().json()["error"]["code"]) == (401, "unknown_key")


def test_a_key_of_all_projects_names_one_as_the_model(serve):
    served = serve("gpu")
    served.key = make_key("gateway:use", project=None)

    assert [model.id for model in served.openai.models.list()] == [DESK]
    assert served.openai.models.retrieve(DESK).id == DESK
    assert served.post().status_code == 200
    with pytest.raises(NotFoundError, match="nowhere"):
        served.openai.chat.completions.create(model="nowhere", messages=CHAT)


def test_a_refusal_by_the_server_reaches_the_caller(serve):
    served = serve("gpu", status=400, refusal={"error": {"message": "max_tokens is too large", "param": "max_tokens"}})

    with pytest.raises(BadRequestError, match="max_tokens is too large") as refused:
        served.openai.chat.completions.create(model=DESK, messages=CHAT)

    assert refused.value.param == "max_tokens"
    assert served.figures()["registered"] == 0


def test_a_status_that_is_neither_an_answer_nor_a_refusal_fails_the_target(serve):
    served = serve("gpu", status=206)

    answer = served.post()

    assert (answer.status_code, "it answered 206" in answer.json()["error"]["message"]) == (503, True)


def test_the_key_of_the_server_comes_from_the_environment_and_reaches_no_caller(serve, monkeypatch):
    monkeypatch.setenv("THUMBWHEEL_SERVING_KEY_GPU", "the-servers-key")
    served = serve("gpu")
    add_target("other", served.servers["gpu"].url, served.live, key_env="THUMBWHEEL_SERVING_KEY_GPU")
    add_target("keyless", served.servers["gpu"].url, served.live, key_env="THUMBWHEEL_SERVING_KEY_NONE")

    for _ in range(2):
        served.post()

    assert {headers.get("authorization") for headers in served.servers["gpu"].headers} == {
        None, "Bearer the-servers-key",
    }  # fmt: skip
    assert served.figures()["projects"][DESK]["targets_without_key"] == ["keyless"]
    served.servers["gpu"].status = 401
    with pytest.raises(APIStatusError) as refused:
        served.openai.chat.completions.create(model=DESK, messages=CHAT)
    assert refused.value.status_code == 503
    assert "the-servers-key" not in json.dumps(served.figures())


def test_metrics_are_read_with_a_key_for_all_projects(serve):
    served = serve("gpu")
    served.registered(served.post().json()["id"])
    reader = {"Authorization": f"Bearer {make_key('runs:read', project=None)}"}

    assert httpx.get(f"{served.url}/metrics").status_code == 401
    text = httpx.get(f"{served.url}/metrics", headers=reader).text
    assert f'thumbwheel_gateway_registered_total{{project="{DESK}"}} 1.0' in text
    assert httpx.get(f"{served.url}/readyz").json()["postgres"] == "ok"


def test_the_wire_knows_the_scope():
    assert wire.NewKey(name="x", scopes=["gateway:use"]).scopes == ["gateway:use"]
