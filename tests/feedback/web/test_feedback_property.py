"""An accepted event is stored and read back as it was sent; any other gets a problem with a 4xx status."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from thumbwheel import wire

from app.feedback import signals
from app.feedback.ingest.entries import event_entry, quick_entry
from benchmarks.ingest.bodies import Bodies

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=40).filter(
    str.strip
)
ANY_TEXT = st.text(max_size=20)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63) + 1, 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
OBJECT = st.dictionaries(TEXT, JSON, max_size=4)
TIME = st.integers(946_800_000_000_000, 1_760_000_000_000_000).map(
    lambda microseconds: (EPOCH + timedelta(microseconds=microseconds)).isoformat()
)
SCALE = st.floats(-1e9, 1e9)
CALL = st.fixed_dictionaries(
    {"function": st.fixed_dictionaries({"name": TEXT, "arguments": OBJECT | TEXT})}, optional={"id": TEXT}
)
PART = st.fixed_dictionaries({"type": st.just("text"), "text": TEXT}) | st.fixed_dictionaries(
    {"type": st.just("image_url"), "image_url": OBJECT}
)
MESSAGE = st.one_of(
    st.fixed_dictionaries(
        {
            "role": st.sampled_from(["system", "developer", "user", "assistant"]),
            "content": TEXT | st.just("") | st.lists(PART, min_size=1, max_size=2),
        },
        optional={"name": TEXT},
    ),
    st.fixed_dictionaries(
        {"role": st.just("assistant"), "tool_calls": st.lists(CALL, min_size=1, max_size=2)},
        optional={"reasoning_content": TEXT},
    ),
    st.fixed_dictionaries({"role": st.just("tool"), "content": TEXT, "tool_call_id": TEXT}),
)
CHAT = st.lists(MESSAGE, min_size=1, max_size=3)
TOOL = st.fixed_dictionaries({"type": st.just("function"), "function": OBJECT.map(lambda tool: {**tool, "name": "f"})})
PROMPT = TEXT | CHAT | st.fixed_dictionaries({"messages": CHAT}, optional={"tools": st.lists(TOOL, max_size=2)})


@st.composite
def ratings(draw: st.DrawFn) -> dict[str, Any]:
    low, value, high = sorted(draw(st.lists(SCALE, min_size=3, max_size=3, unique=True)))
    return {"kind": "rating", "value": value, "minimum": low, "maximum": high}


SIGNAL = st.one_of(
    st.fixed_dictionaries({"kind": st.just("thumbs"), "value": st.sampled_from(["up", "down"])}),
    st.fixed_dictionaries({"kind": st.just("edit"), "text": TEXT}),
    ratings(),
    st.fixed_dictionaries(
        {"kind": st.sampled_from(["accept", "reject", "copy", "regenerate", "escalate", "reopen", "resolve"])}
    ),
    st.fixed_dictionaries({"kind": st.just("flag"), "flags": st.lists(TEXT, min_size=1, max_size=3)}),
    st.fixed_dictionaries({"kind": st.just("preference"), "rejected_completion_id": TEXT}),
    st.fixed_dictionaries({"kind": st.just("outcome"), "name": TEXT, "value": st.booleans()}),
    st.fixed_dictionaries({"kind": st.just("comment"), "text": TEXT}),
    st.fixed_dictionaries({"kind": st.just("retract")}),
)


@st.composite
def events(draw: st.DrawFn) -> dict[str, Any]:
    event = {"completion_id": draw(TEXT), "actor": draw(TEXT), "signal": draw(SIGNAL)}
    if draw(st.booleans()):
        event |= {"prompt": draw(PROMPT), "completion": draw(TEXT)}
    optional = {
        "event_id": TEXT,
        "checkpoint_id": st.uuids().map(str),
        "occurred_at": TIME,
        "supersedes": TEXT,
        "conversation_id": TEXT,
        "metadata": OBJECT,
        "never_train": st.booleans(),
        "origin": st.just("import"),
    }
    return event | {name: draw(value) for name, value in optional.items() if draw(st.booleans())}


QUIET = settings(max_examples=150, deadline=None, database=None, suppress_health_check=list(HealthCheck))


@QUIET
@given(st.lists(events(), min_size=1, max_size=5), st.booleans())
def test_what_is_accepted_is_stored_and_read_back_as_it_was_sent(api, sent, as_lines):
    body = "\n".join(map(json.dumps, sent)) if as_lines else json.dumps(sent)
    kind = "application/x-ndjson" if as_lines else "application/json"
    answer = api.post("/v1/feedback/batch?project=acme", content=body, headers={"Content-Type": kind})
    assert answer.status_code in (200, 207), answer.text

    # The newest events come first, so those of this body are among as many.
    found = api.get("/v1/feedback", params={"project": "acme", "limit": len(sent)}).json()["items"]
    for event, item in zip(sent, answer.json()["items"], strict=True):
        if item["status"] != "stored":
            assert item["status"] in ("conflict", "replayed", "invalid")
            continue
        [stored] = [each for each in found if each["event_id"] == item["event_id"]]
        assert stored["completion_id"] == event["completion_id"]
        expected = signals.document(signals.as_stored(wire.Event.model_validate(event)))
        time = stored["received_at"] if "occurred_at" not in event else None
        assert stored["occurred_at"] == time or time is None
        read = signals.document(
            wire.Event.model_validate(
                {name: stored[name] for name in expected if name != "occurred_at"}
                | ({"occurred_at": stored["occurred_at"]} if "occurred_at" in event else {})
            )
        )
        assert read == expected


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3),
    max_leaves=10,
)


@QUIET
@given(event=events(), field=st.sampled_from(sorted(wire.Event.model_fields)), value=ANYTHING)
def test_whatever_a_field_holds_the_answer_is_no_server_error(api, event, field, value):
    answer = api.post(
        "/v1/feedback?project=acme",
        content=json.dumps({**event, field: value}),
        headers={"Content-Type": "application/json"},
    )

    assert answer.status_code in (200, 201, 409, 422), answer.text
    if answer.status_code == 422:
        assert answer.json()["errors"]


@QUIET
@given(st.binary(max_size=60), st.sampled_from(["/v1/feedback", "/v1/feedback/batch"]))
def test_no_bytes_are_a_server_error(api, body, path):
    answer = api.post(f"{path}?project=acme", content=body, headers={"Content-Type": "application/json"})

    assert answer.status_code in (200, 207, 422), answer.text


@QUIET
@given(event=events(), field=st.sampled_from(sorted(wire.Event.model_fields)), value=ANYTHING, spoil=st.booleans())
def test_what_the_quick_reader_takes_is_the_event_that_the_full_one_reads(event, field, value, spoil):
    body = json.dumps({**event, field: value} if spoil else event, ensure_ascii=False).encode("utf-8", "surrogatepass")

    assert_taken_alike(body)


@pytest.mark.parametrize(
    "change",
    [
        b'"occurred_at": "2026-01-02T03:04:05.123456789Z"',
        b'"occurred_at": "2026-01-02T03:04:05.9999999Z"',
        b'"occurred_at": "2026-01-02T03:04:60Z"',
        b'"occurred_at": "2026-01-02t03:04:05z"',
        b'"occurred_at": "1999-12-31T23:59:59Z"',
        b'"occurred_at": "2999-12-31T23:59:59Z"',
        b'"occurred_at": 1767322800',
        b'"checkpoint_id": "01890A5DAC96774BBCCEB302099A8057"',
        b'"checkpoint_id": "{01890a5d-ac96-774b-bcce-b302099a8057}"',
        b'"metadata": {"a": 1, "a": 2}',
        b'"metadata": {"a": 1e400}',
        b'"metadata": {"a": 9223372036854775808, "b": -0.0, "c": 1e23}',
        b'"metadata": {"a": "\\u0000"}',
        b'"metadata": {"a": [1, {"b": null}]}',
        b'"actor": "one", "actor": "two"',
        b'"actor": "\\ud83d"',
        b'"actor": "\xff"',
        b'"actor": "\xe2\x80\x83"',
        b'"actor": ""',
        b'"signal": {"kind": "rating", "value": 3}',
        b'"signal": {"kind": "rating", "value": "3"}',
        b'"signal": {"kind": "rating", "value": 7}',
        b'"signal": {"value": "up", "kind": "thumbs"}',
        b'"signal": {"kind": "copy", "why": 1}',
        b'"signal": {"kind": "edit", "text": "Ho"}',
        b'"prompt": "Hi"',
        b'"prompt": "Hi", "completion": "Ho", "signal": {"kind": "edit", "text": "Ho"}',
        b'"prompt": [{"role": "user", "content": ""}], "completion": "Ho"',
        b'"prompt": [{"role": "user", "content": null}], "completion": "Ho"',
        b'"prompt": [], "completion": "Ho"',
        b'"supersedes": "e"',
        b'"conversation_id": "chat-1"',
        b'"conversation_id": " "',
        b'"conversation_id": 7',
    ],
)
def test_the_quick_reader_takes_special_cases_as_the_full_one_does_or_leaves_them_to_it(change):
    body = b'{"event_id": "e", "completion_id": "c", "actor": "a", "signal": {"kind": "copy"}, ' + change + b"}"

    assert_taken_alike(body)


#: The indices of signal, messages and metadata in a row of the log.
JSON_PLACES = (4, 6, 12)


def assert_taken_alike(body: bytes) -> None:
    quick = quick_entry("p", body)
    if quick is None:
        return
    read = wire.Event.model_validate_json(body)
    full = event_entry("p", read)
    assert signals.as_stored(read) == read
    for index, (one, other) in enumerate(zip(quick.row, full.row, strict=True)):
        if index in JSON_PLACES and one is not None and other is not None:
            assert json.loads(one) == json.loads(other)
        else:
            assert one == other


def test_the_usual_events_are_read_quickly():
    bodies = Bodies()

    assert all(quick_entry("p", bodies.body(number)) for number in range(100))
