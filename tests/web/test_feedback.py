"""Feedback over HTTP: statuses, problems that point at the field, pages, approvals."""

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
        ({"prompt": [{"role": "user"}], "completion": "Hi"}, "/prompt/0/content"),
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
