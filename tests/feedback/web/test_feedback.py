"""Feedback over HTTP: statuses, problems that point at the field, pages, approvals."""

import gzip
import json

import pytest

THUMB = {"completion_id": "c1", "actor": "ann", "signal": {"kind": "thumbs", "value": "up"}}
URL = "/v1/feedback?project=acme"
BATCH = "/v1/feedback/batch?project=acme"


def test_new_is_201_replay_is_200_and_another_body_is_409(api):
    new = api.post(URL, json={**THUMB, "event_id": "e1"})
    replay = api.post(URL, json={**THUMB, "event_id": "e1"})
    other = api.post(URL, json={**THUMB, "event_id": "e1", "actor": "bob"})

    assert (new.status_code, new.json()) == (201, {"event_id": "e1", "status": "stored"})
    assert (replay.status_code, replay.json()) == (200, {"event_id": "e1", "status": "replayed"})
    assert other.status_code == 409
    assert other.headers["content-type"] == "application/problem+json"
    problem = other.json()
    assert problem["code"] == "event_id_taken"
    assert problem["details"] == {"event_id": "e1", "differs": ["/actor"]}
    assert [fault["pointer"] for fault in problem["errors"]] == ["/actor"]
    assert "new event_id" in problem["detail"]


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"signal": {"kind": "thumbs", "value": "sideways"}}, "/signal/value"),
        ({"signal": {"kind": "applause"}}, "/signal"),
        ({"signal": {"kind": "rating", "value": 9}}, "/signal"),
        ({"signal": {"kind": "edit", "text": " "}}, "/signal/text"),
        ({"signal": {"kind": "edit"}}, "/signal/text"),
        ({"colour": "red"}, "/colour"),
        ({"col~/our": "red"}, "/col~0~1our"),
        ({"prompt": "Hi"}, "/"),
        ({"prompt": "Hi", "completion": ""}, "/completion"),
        ({"prompt": [{"role": "bot", "content": "Hi"}], "completion": "Hi"}, "/prompt/0/role"),
        ({"prompt": [{"role": "user"}], "completion": "Hi"}, "/prompt/0"),
        (
            {"prompt": [{"role": "user", "content": "Hi", "tool_calls": [{}]}], "completion": "Hi"},
            "/prompt/0/tool_calls/0/function",
        ),
        ({"prompt": [{"role": "user", "content": [{"type": "text"}]}], "completion": "Hi"}, "/prompt/0/content/0"),
        ({"prompt": [{"role": "user", "content": []}], "completion": "Hi"}, "/prompt/0/content"),
        ({"prompt": [{"role": "user", "content": "Hi", "reasoning": "Hm"}], "completion": "Hi"}, "/prompt/0"),
        ({"prompt": {"messages": [{"role": "bot"}]}, "completion": "Hi"}, "/prompt/messages/0/role"),
        ({"prompt": {"messages": []}, "completion": "Hi"}, "/prompt/messages"),
        (
            {"prompt": {"messages": [{"role": "user", "content": "Hi"}], "tools": [{}]}, "completion": "Hi"},
            "/prompt/tools/0",
        ),
        (
            {"prompt": [{"role": "user", "content": "Hi"}], "completion": {"role": "user", "content": "Hi"}},
            "/completion",
        ),
        (
            {"prompt": [{"role": "user", "content": "Hi"}], "completion": {"role": "assistant", "content": ""}},
            "/completion",
        ),
        ({"prompt": "Hi", "completion": {"role": "assistant", "content": "Hi"}}, "/"),
        ({"signal": {"kind": "preference"}}, "/signal"),
        ({"signal": {"kind": "outcome", "name": "solved", "value": 2}}, "/signal/value"),
        ({"signal": {"kind": "flag", "flags": []}}, "/signal/flags"),
        ({"signal": {"kind": "rating", "value": 1, "maximum": 1e308}}, "/signal/maximum"),
        ({"event_id": "e1", "supersedes": "e1"}, "/"),
        ({"occurred_at": "0001-01-01T00:00:00+14:00"}, "/occurred_at"),
        ({"metadata": {"x": 2**64}}, "/metadata"),
        ({"prompt": [], "completion": "Hi"}, "/prompt"),
        ({"prompt": 7, "completion": "Hi"}, "/prompt"),
        ({"actor": "a\x00b"}, "/actor"),
        ({"occurred_at": "2026-01-01T00:00:00"}, "/occurred_at"),
        ({"occurred_at": "2999-01-01T00:00:00Z"}, "/occurred_at"),
        ({"checkpoint_id": "newest"}, "/checkpoint_id"),
        ({"event_id": "x" * 129}, "/event_id"),
        ({"signal": {"kind": "preference", "rejected": "No."}}, "/"),
        ({"prompt": "Hi", "completion": "No.", "signal": {"kind": "preference", "rejected": "No."}}, "/"),
    ],
)
def test_a_malformed_event_is_422_with_a_pointer_to_the_field(api, change, pointer):
    answer = api.post(URL, json={**THUMB, **change})

    assert answer.status_code == 422, answer.text
    assert [fault["pointer"] for fault in answer.json()["errors"]] == [pointer]
    assert api.get(URL).json()["items"] == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"up"',
        b'{"completion_id": "\\ud83d", "actor": "a", "signal": {"kind": "copy"}}',
        b'{"\\ud83d": 1, "completion_id": "c", "actor": "a", "signal": {"kind": "copy"}}',
        b'{"metadata": {"x": NaN}, "completion_id": "c", "actor": "a", "signal": {"kind": "copy"}}',
        b'{"metadata": {"x": 1e999}, "completion_id": "c", "actor": "a", "signal": {"kind": "copy"}}',
        b'{"metadata": {"x": "\\u0000"}, "completion_id": "c", "actor": "a", "signal": {"kind": "copy"}}',
        b'{"completion_id": "c", "actor": "a", "signal": {"kind": "rating", "value": Infinity}}',
        b"\xff\xfe",
        b'{"metadata": ' + b'{"a":' * 500 + b"1" + b"}" * 500 + b"}",
        b'{"metadata": {"x": ' + b"9" * 5000 + b'}, "completion_id": "c", "actor": "a", "signal": {"kind": "copy"}}',
    ],
)
@pytest.mark.parametrize("url", [URL, BATCH])
def test_no_body_is_ever_a_server_error(api, url, body):
    content = b'{"events": [' + body + b"]}" if url == BATCH else body

    answer = api.post(url, content=content, headers={"Content-Type": "application/json"})

    assert answer.status_code in ((200, 207, 400, 422) if url == BATCH else (400, 422)), answer.text
    assert api.get(URL).json()["items"] == []


def test_a_batch_of_sound_events_is_200_and_a_mixed_one_207(api):
    sound = api.post(BATCH, json={"events": [THUMB, {**THUMB, "actor": "bob"}]})
    mixed = api.post(BATCH, json=[{**THUMB, "actor": "eve"}, {"actor": "bob"}, THUMB])

    assert (sound.status_code, sound.json()["stored"]) == (200, 2)
    assert mixed.status_code == 207
    receipt = mixed.json()
    assert (receipt["stored"], receipt["replayed"], receipt["rejected"]) == (1, 1, 1)
    assert receipt["items"][1]["status"] == "invalid"
    assert receipt["items"][1]["pointer"] == "/completion_id"
    assert len(api.get(URL).json()["items"]) == 3


LINES = {"Content-Type": "application/x-ndjson"}


def lines(*items) -> bytes:
    return b"".join(json.dumps(item).encode() + b"\n" for item in items)


def test_a_batch_comes_as_lines_too_each_of_them_judged_alone(api):
    body = lines({**THUMB, "event_id": "a"}) + b"{\n\n\xff\n" + lines({**THUMB, "event_id": "b"}, [1])[:-1]

    answer = api.post(BATCH, content=body, headers=LINES)

    assert answer.status_code == 207
    items = [(item["index"], item.get("event_id"), item["status"]) for item in answer.json()["items"]]
    assert items == [
        (0, "a", "stored"),
        (1, None, "invalid"),
        (2, None, "invalid"),
        (3, "b", "stored"),
        (4, None, "invalid"),
    ]
    assert {item["event_id"] for item in api.get(URL).json()["items"]} == {"a", "b"}


def test_a_batch_keeps_its_order_in_the_log(api):
    """The latest vote of an actor counts, so another order could restore an earlier vote."""
    body = lines(*({**THUMB, "event_id": f"e{number}"} for number in range(900)))

    assert api.post(BATCH, content=body, headers=LINES).json()["stored"] == 900

    items = []
    cursor = None
    while len(items) < 900:
        page = api.get(
            "/v1/feedback", params={"project": "acme", "limit": 200, **({"cursor": cursor} if cursor else {})}
        ).json()
        items += [item["event_id"] for item in page["items"]]
        cursor = page["next_cursor"]
    assert items[::-1] == [f"e{number}" for number in range(900)]


def test_lines_may_come_in_pieces_that_end_anywhere(api):
    body = lines(*({**THUMB, "event_id": f"e{number}"} for number in range(40)))

    answer = api.post(BATCH, content=(body[at : at + 7] for at in range(0, len(body), 7)), headers=LINES)

    assert (answer.status_code, answer.json()["stored"]) == (200, 40)


@pytest.mark.parametrize("pack", [gzip.compress, lambda body: gzip.compress(body[:90]) + gzip.compress(body[90:])])
def test_a_batch_may_be_compressed(api, pack):
    body = lines(*({**THUMB, "event_id": f"e{number}"} for number in range(40)))

    answer = api.post(BATCH, content=pack(body), headers={**LINES, "Content-Encoding": "gzip"})

    assert (answer.status_code, answer.json()["stored"]) == (200, 40)


@pytest.mark.parametrize("damage", [lambda packed: packed[:-9], lambda packed: b"x" + packed, lambda _: b"{}"])
def test_a_damaged_gzip_is_422_and_nothing_of_it_is_stored(api, damage):
    body = damage(gzip.compress(lines(*({**THUMB, "event_id": f"e{number}"} for number in range(40)))))

    answer = api.post(BATCH, content=body, headers={**LINES, "Content-Encoding": "gzip"})

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_gzip")
    assert api.get(URL).json()["items"] == []


def test_a_gzip_bomb_is_413(api):
    bomb = gzip.compress(b" " * 64 * 1024 * 1024)

    answer = api.post(BATCH, content=bomb, headers={**LINES, "Content-Encoding": "gzip"})

    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


@pytest.mark.parametrize(
    ("url", "headers"),
    [
        (URL, LINES),
        (URL, {"Content-Type": "application/json", "Content-Encoding": "gzip"}),
        (BATCH, {"Content-Type": "application/json", "Content-Encoding": "br"}),
        (BATCH, {"Content-Type": "text/csv"}),
    ],
)
def test_a_form_that_is_not_read_there_is_415(api, url, headers):
    assert api.post(url, content=b"{}", headers=headers).status_code == 415


def test_neighbours_of_a_broken_character_are_stored(api):
    sound, broken = json.dumps({**THUMB, "event_id": "a"}), json.dumps({**THUMB, "actor": "\ud83d", "event_id": "b"})

    answer = api.post(BATCH, content=f"[{sound}, {broken}]", headers={"Content-Type": "application/json"})

    assert [item["status"] for item in answer.json()["items"]] == ["stored", "invalid"]
    assert answer.json()["items"][1]["pointer"] == "/actor"


def test_a_batch_of_conflicts_names_the_fields(api):
    api.post(URL, json={**THUMB, "event_id": "e1"})

    answer = api.post(BATCH, json=[{**THUMB, "event_id": "e1", "actor": "bob"}])

    [item] = answer.json()["items"]
    assert (answer.status_code, item["status"], item["pointer"]) == (207, "conflict", "/actor")
    assert "/actor" in item["error"]


@pytest.mark.parametrize("pack", [lambda: lines(*[THUMB] * 5001), lambda: b"\n" * 16 * 1024 * 1024])
def test_too_many_lines_are_422_also_empty_ones(api, pack):
    answer = api.post(BATCH, content=pack(), headers=LINES)

    assert answer.status_code == 422
    assert "5000" in answer.json()["detail"]
    assert api.get(URL).json()["items"] == []


@pytest.mark.parametrize("body", [{"event": []}, {"events": [], "more": 1}, {"events": {}}, 7])
def test_what_is_no_batch_is_422(api, body):
    assert api.post(BATCH, json=body).status_code == 422


COMPLETION = {"prompt": "Where is it?", "completion": "Tomorrow.", "sampling": {"temperature": 0.7}}


def test_a_completion_is_registered_once_read_back_and_never_changed(api):
    path = "/v1/completions/thread/7?project=acme"  # an id is the caller's own: it may hold a slash

    new, replay = api.put(path, json=COMPLETION), api.put(path, json=COMPLETION)
    other = api.put(path, json={**COMPLETION, "completion": "Never."})

    assert (new.status_code, new.json()) == (201, {"completion_id": "thread/7", "status": "stored"})
    assert (replay.status_code, replay.json()["status"]) == (200, "replayed")
    assert (other.status_code, other.json()["code"]) == (409, "completion_id_taken")
    assert other.json()["details"] == {"completion_id": "thread/7", "differs": ["/completion"]}
    assert api.get(path).json().items() >= COMPLETION.items()
    assert api.get("/v1/completions/thread/8?project=acme").status_code == 404


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"prompt": None}, "/prompt"),
        ({"completion": " "}, "/completion"),
        ({"token_ids": [-1]}, "/token_ids/0"),
        ({"token_ids": [2**31]}, "/token_ids/0"),
        ({"token_ids": [1], "log_probs": [0.5]}, "/log_probs/0"),
        ({"token_ids": [1], "log_probs": [-0.5, -0.1]}, "/"),
        ({"log_probs": [-0.5]}, "/"),
        ({"colour": "red"}, "/colour"),
    ],
)
def test_a_malformed_completion_is_422_with_a_pointer_to_the_field(api, change, pointer):
    answer = api.put("/v1/completions/c1?project=acme", json={**COMPLETION, **change})

    assert answer.status_code == 422, answer.text
    assert pointer in [fault["pointer"] for fault in answer.json()["errors"]]


def test_an_id_of_a_completion_that_cannot_be_stored_is_422(api):
    assert api.put(f"/v1/completions/{'x' * 129}?project=acme", json=COMPLETION).status_code == 422
    assert api.put("/v1/completions/a%00b?project=acme", json=COMPLETION).status_code == 422


def test_every_kind_of_signal_is_stored_as_it_was_sent(api):
    signals = [
        {"kind": "thumbs", "value": "down"},
        {"kind": "edit", "text": "Better."},
        {"kind": "rating", "value": 6.5, "minimum": 0.0, "maximum": 7.0},
        *({"kind": kind} for kind in ("accept", "reject", "copy", "regenerate", "escalate", "reopen", "resolve")),
        {"kind": "flag", "flags": ["unsafe", "wrong"]},
        {"kind": "preference", "rejected_completion_id": "c2"},
        {"kind": "outcome", "name": "ticket_solved", "value": False},
        {"kind": "comment", "text": "Why?"},
        {"kind": "retract"},
    ]

    for signal in signals:
        assert api.post(URL, json={**THUMB, "signal": signal}).status_code == 201, signal

    assert [item["signal"] for item in api.get(URL).json()["items"]] == signals[::-1]


def test_a_conversation_id_is_stored_with_events_and_completions_and_is_part_of_what_a_retry_repeats(api):
    content = {"prompt": "Where is it?", "completion": "On its way.", "conversation_id": "chat-7"}
    assert api.post(URL, json={**THUMB, **content, "event_id": "e1"}).status_code == 201
    assert api.put("/v1/completions/c2?project=acme", json=content).status_code == 201

    other = api.post(URL, json={**THUMB, **content, "event_id": "e1", "conversation_id": "chat-8"})
    again = api.put("/v1/completions/c2?project=acme", json={**content, "conversation_id": "chat-8"})

    assert api.get(URL).json()["items"][0]["conversation_id"] == "chat-7"
    assert api.get("/v1/completions/c2?project=acme").json()["conversation_id"] == "chat-7"
    assert (other.status_code, other.json()["errors"][0]["pointer"]) == (409, "/conversation_id")
    assert (again.status_code, again.json()["errors"][0]["pointer"]) == (409, "/conversation_id")


@pytest.mark.parametrize("conversation_id", ["", " ", "x" * 129, 7, "nul\x00"])
def test_a_conversation_id_that_cannot_be_one_is_422_with_its_name(api, conversation_id):
    refused = api.post(URL, json={**THUMB, "conversation_id": conversation_id})

    assert refused.status_code == 422
    assert refused.json()["errors"][0]["pointer"] == "/conversation_id"


def test_a_prompt_may_call_tools(api):
    prompt = [
        {"role": "user", "content": "Where is it?"},
        {
            "role": "assistant",
            "tool_calls": [
                {"id": "t1", "type": "function", "function": {"name": "track", "arguments": {"parcel": None}}}
            ],
        },
        {"role": "tool", "tool_call_id": "t1", "content": "in Leeds"},
    ]

    assert api.post(URL, json={**THUMB, "prompt": prompt, "completion": "In Leeds."}).status_code == 201
    assert api.get(URL).json()["items"][0]["prompt"] == prompt


CHAT = {
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "Where is it?", "cache_control": {"ttl": None}}]}
    ],
    "tools": [{"type": "function", "function": {"name": "track", "parameters": {"default": None}}}],
}
CALL = {
    "role": "assistant",
    "reasoning_content": "I have to look.",
    "tool_calls": [{"id": "t1", "type": "function", "function": {"name": "track", "arguments": '{"parcel": 7}'}}],
}


def test_parts_tools_and_a_completion_that_is_a_tool_call_come_back_as_they_were_sent(api):
    event = {**THUMB, "event_id": "e1", "prompt": CHAT, "completion": CALL}
    registered = {"prompt": CHAT, "completion": CALL}

    assert [api.post(URL, json=event).status_code for _ in "ab"] == [201, 200]
    assert api.put("/v1/completions/c2?project=acme", json=registered).status_code == 201
    assert api.put("/v1/completions/c2?project=acme", json=registered).status_code == 200

    shown = api.get(URL).json()["items"][0], api.get("/v1/completions/c2?project=acme").json()
    assert [(each["prompt"], each["completion"]) for each in shown] == [(CHAT, CALL)] * 2
    # and another call under the same ids is a conflict
    other = {**CALL, "tool_calls": [{**CALL["tool_calls"][0], "id": "t2"}]}
    refused = api.post(URL, json={**event, "completion": other})
    assert refused.json()["details"]["differs"] == ["/completion/tool_calls"]
    # and people read the call as text
    label = api.get("/v1/completions/c1/label?project=acme").json()
    assert label["completion"] == 'track({"parcel": 7})'


def test_a_message_with_nothing_but_a_text_is_stored_as_that_text(api):
    prompt = [{"role": "user", "content": "Hi"}]
    answers = [{"role": "assistant", "content": "Hello"}, "Hello"]

    receipts = [
        api.post(URL, json={**THUMB, "event_id": "e1", "prompt": prompt, "completion": answer}) for answer in answers
    ]

    assert [receipt.status_code for receipt in receipts] == [201, 200]
    assert api.get(URL).json()["items"][0]["completion"] == "Hello"


def test_a_batch_of_more_than_5000_events_is_422(api):
    answer = api.post(BATCH, json=[THUMB] * 5001)

    assert answer.status_code == 422
    assert "5000" in answer.json()["detail"]


def test_a_batch_of_5000_events_is_taken_whole(api):
    answer = api.post(BATCH, json=[{**THUMB, "completion_id": f"c{number}"} for number in range(5000)])

    assert (answer.status_code, answer.json()["stored"]) == (200, 5000)


def test_events_come_in_pages_the_newest_first(api):
    api.post(BATCH, json=[{**THUMB, "event_id": f"e{number}", "actor": f"u{number % 2}"} for number in range(5)])

    first = api.get("/v1/feedback", params={"project": "acme", "limit": 3}).json()
    second = api.get("/v1/feedback", params={"project": "acme", "limit": 3, "cursor": first["next_cursor"]}).json()

    assert [item["event_id"] for item in first["items"] + second["items"]] == ["e4", "e3", "e2", "e1", "e0"]
    assert second["next_cursor"] is None
    assert [
        item["event_id"] for item in api.get("/v1/feedback", params={"project": "acme", "actor": "u1"}).json()["items"]
    ] == ["e3", "e1"]
    assert api.get("/v1/feedback", params={"project": "acme", "completion_id": "c2"}).json()["items"] == []


@pytest.mark.parametrize("params", [{"cursor": "nonsense"}, {"limit": 0}, {"limit": 201}, {"actor": "a\x00b"}])
def test_a_wrong_parameter_is_422(api, params):
    answer = api.get("/v1/feedback", params={"project": "acme", **params})

    assert answer.status_code == 422
    assert [fault["pointer"] for fault in answer.json()["errors"]] == list(params)


def test_a_key_writes_only_with_the_scope_and_only_to_its_project(api, key):
    writer, reader = key("feedback:write", project="acme"), key("feedback:read", project="acme")

    assert api.post("/v1/feedback", json=THUMB, headers=writer).status_code == 201
    assert api.post("/v1/feedback", json=THUMB, headers=reader).status_code == 403
    assert api.get("/v1/feedback", headers=writer).status_code == 403
    assert len(api.get("/v1/feedback", headers=reader).json()["items"]) == 1
    assert api.post("/v1/feedback?project=other", json=THUMB, headers=writer).status_code == 403


def test_an_unknown_project_is_404(api):
    assert api.post("/v1/feedback?project=nobody", json=THUMB).status_code == 404
    assert api.post("/v1/feedback/batch?project=nobody", json=[THUMB]).status_code == 404


def test_approval_is_there_for_each_checkpoint(api):
    checkpoint = "01890a5d-ac96-774b-bcce-b302099a8057"
    api.post(BATCH, json=[{**THUMB, "completion_id": f"c{number}", "checkpoint_id": checkpoint} for number in range(3)])

    [approval] = api.get("/v1/approvals?project=acme").json()

    assert (approval["checkpoint_id"], approval["desirable"], approval["approval"]) == (checkpoint, 3, 1.0)
    assert 0.4 < approval["low"] < approval["high"] == 1.0
