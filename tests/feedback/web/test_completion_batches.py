"""`POST /v1/completions/batch`: what is registered of many completions, and what is said of each."""

import gzip
import json
from typing import Any

import pytest

BATCH = "/v1/completions/batch?project=acme"
LINES = {"Content-Type": "application/x-ndjson"}


def completion(number: int, **more: Any) -> dict[str, Any]:
    return {"completion_id": f"c{number}", "prompt": "Where is it?", "completion": f"In Leeds, {number}.", **more}


def lines(*items: Any) -> bytes:
    return b"\n".join(json.dumps(item).encode() for item in items)


def registered(api, completion_id: str) -> Any:
    answer = api.get(f"/v1/completions/{completion_id}?project=acme")
    return answer.json() if answer.status_code == 200 else None


@pytest.mark.parametrize("wrapped", [lambda items: items, lambda items: {"completions": items}])
def test_new_ones_are_stored_and_the_same_ones_replayed_however_they_were_sent_before(api, wrapped):
    single = api.put("/v1/completions/c0?project=acme", json={"prompt": "Where is it?", "completion": "In Leeds, 0."})

    answer = api.post(BATCH, json=wrapped([completion(number) for number in range(3)]))

    assert (single.status_code, answer.status_code) == (201, 200)
    receipt = answer.json()
    assert (receipt["stored"], receipt["replayed"], receipt["rejected"]) == (2, 1, 0)
    assert [(item["index"], item["completion_id"], item["status"]) for item in receipt["items"]] == [
        (0, "c0", "replayed"), (1, "c1", "stored"), (2, "c2", "stored"),
    ]  # fmt: skip
    assert registered(api, "c2")["completion"] == "In Leeds, 2."


def test_each_item_is_judged_alone_by_the_rules_of_a_single_one(api):
    api.post(BATCH, json=[completion(0)])
    items = [
        completion(0, completion="In York.", metadata={"page": 1}),
        {"prompt": "p", "completion": "c"},
        completion(2, token_ids=[1], log_probs=[0.5]),
        completion(3),
        completion(4, prompt="p", completion={"role": "assistant", "content": "c", "reasoning_content": "r"}),
        completion(3, completion="Another of the same id."),
    ]

    answer = api.post(BATCH, content=lines(*items) + b"\n{", headers=LINES)

    assert answer.status_code == 207
    found = [(item.get("completion_id"), item["status"], item.get("pointer")) for item in answer.json()["items"]]
    assert found == [
        ("c0", "conflict", "/completion"), (None, "invalid", "/completion_id"), ("c2", "invalid", "/log_probs/0"),
        ("c3", "stored", None), ("c4", "invalid", ""), ("c3", "conflict", "/completion"), (None, "invalid", ""),
    ]  # fmt: skip
    conflict = answer.json()["items"][0]
    assert conflict["differs"] == ["/completion", "/metadata/page"]
    assert conflict["error"].endswith("or a new completion_id to say something new.")
    assert registered(api, "c3")["completion"] == "In Leeds, 3."
    assert registered(api, "c2") is None


def test_lines_may_be_compressed_and_hold_long_completions_with_their_log_probs(api):
    tokens = 60_000  # as a text, more than an event may have
    items = [completion(n, token_ids=[n] * tokens, log_probs=[-0.123456789012] * tokens) for n in range(4)]

    answer = api.post(BATCH, content=gzip.compress(lines(*items), 1), headers={**LINES, "Content-Encoding": "gzip"})

    assert (answer.status_code, answer.json()["stored"]) == (200, 4)
    assert registered(api, "c3")["token_ids"] == [3] * tokens


def test_an_array_with_more_values_than_are_split_at_once_is_read_as_well(api):
    items = [completion(number, token_ids=[1] * 40_000, log_probs=[-1.0] * 40_000) for number in range(4)]

    answer = api.post(BATCH, json={"completions": items})

    assert (answer.status_code, answer.json()["stored"]) == (200, 4), answer.text


@pytest.mark.parametrize(
    ("body", "pointer"),
    [({"events": []}, "/events"), ({"completions": {}}, "/completions"), (7, "/"), ([{}] * 5001, "/")],
)
def test_what_is_no_batch_of_completions_is_422(api, body, pointer):
    answer = api.post(BATCH, json=body)

    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer)
    assert "completions" in answer.json()["detail"]


def test_a_completion_that_is_named_batch_is_an_ordinary_one(api):
    body = {"prompt": "p", "completion": "c"}

    stored = api.put("/v1/completions/batch?project=acme", json=body)
    packed = api.put(
        "/v1/completions/batch?project=acme",
        content=gzip.compress(json.dumps(body).encode()),
        headers={"Content-Type": "application/json", "Content-Encoding": "gzip"},
    )

    assert (stored.status_code, packed.status_code) == (201, 415)
    assert registered(api, "batch")["completion"] == "c"


def test_the_items_count_for_the_limit_of_the_key_as_single_ones_do(api):
    key = api.post("/v1/keys", json={
        "name": "limited", "scopes": ["feedback:write"], "project": "acme", "limits": {"per_minute": 3},
    })  # fmt: skip
    assert key.status_code == 201, key.text
    headers = {"Authorization": f"Bearer {key.json()['secret']}"}

    first = api.post(BATCH, headers=headers, json=[completion(number) for number in range(3)])
    second = api.post(BATCH, headers=headers, json=[completion(number) for number in range(3, 5)])

    assert (first.status_code, second.status_code) == (200, 429)
    assert registered(api, "c3") is None
