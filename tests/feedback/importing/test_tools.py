"""Exports of tools of which there is no file in the formats: what a record becomes."""

import json
from typing import Any

import pytest

from app.errors import Invalid
from app.feedback import importing
from app.feedback.importing import Imported, Registered, Rejected, Silent

PROMPT = [{"role": "user", "content": "Hi"}]


def read(tmp_path, *rows: Any, **options: str) -> list[importing.Item]:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return list(importing.read(path, importing.choices(**options)))


def signals(items: list[importing.Item]) -> list[dict[str, Any]]:
    return [item.event.signal.model_dump(exclude_none=True) for item in items if isinstance(item, Imported)]


def messages(**changes: Any) -> dict[str, Any]:
    return {
        "q": {"id": "q", "parentId": None, "childrenIds": ["a", "b"], "role": "user", "content": "Hi"},
        "a": {"id": "a", "parentId": "q", "childrenIds": [], "role": "assistant", "content": "Hello!", **changes},
        "b": {"id": "b", "parentId": "q", "childrenIds": [], "role": "assistant", "content": "Go away."},
    }


def webui(**changes: Any) -> dict[str, Any]:
    return {
        "id": "f1", "user_id": "ann", "version": 0, "type": "rating",
        "data": {"rating": 1, "model_id": "llama", "reason": "other", "comment": "Warm.", "details": {"rating": 9}},
        "meta": {"chat_id": "c1", "message_id": "a", "arena": False},
        "snapshot": {"chat": {"id": "c1", "chat": {"history": {"messages": messages(), "currentId": "b"}}}},
        "created_at": 1772359200, "updated_at": 1772359260, **changes,
    }  # fmt: skip


def test_feedback_of_open_webui_is_about_the_branch_of_its_message(tmp_path):
    vote, remark = read(tmp_path, webui())

    assert isinstance(vote, Imported)
    event = vote.event
    assert (event.event_id, event.actor, event.completion_id, event.conversation_id) == ("f1", "ann", "a", "c1")
    assert event.prompt is not None
    assert [message.model_dump(exclude_none=True) for message in event.prompt] == PROMPT  # type: ignore[union-attr]
    assert event.completion == "Hello!"
    assert event.occurred_at is not None
    assert event.occurred_at.timestamp() == 1772359260
    assert signals([vote, remark]) == [
        {"kind": "thumbs", "value": "up"}, {"kind": "comment", "text": "other: Warm."},
    ]  # fmt: skip


def test_chats_of_open_webui_give_each_annotated_answer(tmp_path):
    history = {"messages": messages(annotation={"rating": -1})}

    items = read(tmp_path, {"id": "c1", "user_id": "ann", "title": "t", "chat": {"history": history}})

    assert signals(items) == [{"kind": "thumbs", "value": "down"}]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"content": '<details type="code_interpreter" done="true">1</details>\nHello!'}, "(code_interpreter)"),
        ({"files": [{"type": "image"}]}, "(files)"),
        ({"parentId": "gone"}, "lacks the message gone"),
    ],
)
def test_what_an_event_cannot_hold_of_a_chat_is_rejected_with_its_name(tmp_path, changes, words):
    chat = {"id": "c1", "chat": {"history": {"messages": messages(**changes)}}}

    [item] = read(tmp_path, webui(snapshot={"chat": chat}))

    assert isinstance(item, Rejected)
    assert words in item.reason


def test_records_of_argilla_give_an_event_per_answer(tmp_path):
    fields = {"prompt": "Hi", "response": "Hello!"}
    first = [
        {"user_id": "u1", "status": "submitted", "values": {"quality": {"value": 4}, "better": {"value": "Hey!"}}},
        {"user_id": "u2", "status": "discarded", "values": {"quality": {"value": 1}}},
    ]
    second = {"label": [{"value": "good", "user_id": "u1"}, {"value": "bad", "user_id": "u2"}], "improved": []}

    items = read(tmp_path, {"id": "r1", "fields": fields, "responses": first},
                 {"id": "r2", "fields": fields, "responses": second})  # fmt: skip

    assert signals(items) == [
        {"kind": "rating", "value": 4, "minimum": 1, "maximum": 5},
        {"kind": "comment", "text": "better: Hey!"},
        {"kind": "thumbs", "value": "up"},
        {"kind": "thumbs", "value": "down"},
    ]
    ids = [item.event.event_id for item in items if isinstance(item, Imported)]
    assert ids == ["r1/quality/u1", "r1/better/u1", "r2/label/u1", "r2/label/u2"]


def test_a_ranking_of_two_answers_in_argilla_is_a_preference(tmp_path):
    ranking = [{"value": "response-2", "rank": 1}, {"value": "response-1", "rank": 2}]
    fields = {"prompt": "Hi", "response-1": "No.", "response-2": "Hello!"}

    [item] = read(tmp_path, {"fields": fields, "responses": [{"user_id": "u", "values": {"rank": {"value": ranking}}}]})

    assert isinstance(item, Imported)
    assert (item.event.completion, item.event.signal.rejected) == ("Hello!", "No.")  # type: ignore[union-attr]


def test_annotations_of_label_studio_give_an_event_per_result(tmp_path):
    def task(number: int, data: dict[str, str], *results: dict[str, Any]) -> dict[str, Any]:
        annotation = {"id": number, "completed_by": {"id": 3, "email": "ann@x"}, "result": list(results),
                      "created_at": "2026-03-01T10:00:00Z", "was_cancelled": False}  # fmt: skip
        return {"id": number, "project": 7, "data": data, "annotations": [annotation], "predictions": []}

    data = {"prompt": "Hi", "response": "Hello!"}
    pair = {"prompt": "Hi", "answer1": "Hello!", "answer2": "No."}
    items = read(
        tmp_path,
        task(1, data, {"type": "choices", "from_name": "verdict", "value": {"choices": ["Good"]}}),
        task(2, data, {"type": "rating", "from_name": "stars", "value": {"rating": 2}}),
        task(3, data, {"type": "textarea", "from_name": "rewrite", "value": {"text": ["Hey!"]}}),
        task(4, pair, {"type": "pairwise", "from_name": "pair", "value": {"selected": "right"}}),
        task(5, data, {"type": "brush", "from_name": "mask", "value": {}}),
    )

    assert [signal["kind"] for signal in signals(items)] == ["thumbs", "rating", "edit", "preference"]
    first = items[0]
    assert isinstance(first, Imported)
    assert (first.event.actor, first.event.event_id) == ("ann@x", "label-studio-7/1/1/verdict")
    assert isinstance(items[-1], Rejected)


def test_tickets_with_a_satisfaction_rating_are_thumbs(tmp_path):
    path = tmp_path / "tickets.csv"
    path.write_text(
        "Ticket ID;Requester;Subject;Description;AI reply;Satisfaction Score;Satisfaction Comment;Updated at\n"
        "17;ann;Parcel;Where is it?;It arrives today.;Good with comment;Quick!;2026-03-01 10:00\n"
        "18;bob;Parcel;Where is it?;No idea.;bad;;2026-03-01 10:00\n"
        "19;eve;Parcel;Where is it?;Soon.;offered;;2026-03-01 10:00\n"
    )

    items = list(importing.read(path))

    assert [signal.get("value", signal.get("text")) for signal in signals(items)] == ["up", "Quick!", "down"]
    assert isinstance(items[-1], Silent)
    event = items[0].event  # type: ignore[union-attr]
    assert (event.completion_id, event.prompt, event.completion) == (
        "17", "Parcel\n\nWhere is it?", "It arrives today.",
    )  # fmt: skip


def test_evaluations_in_the_envelopes_of_otlp_are_found(tmp_path):
    def record(name: str, value: dict[str, Any]) -> dict[str, Any]:
        return {
            "timeUnixNano": "1772359200000000000",
            "spanId": "s1",
            "eventName": "gen_ai.evaluation.result",
            "attributes": [
                {"key": "gen_ai.evaluation.name", "value": {"stringValue": name}},
                {"key": "gen_ai.evaluation.score.value", "value": value},
            ],
        }

    logs = [record("user_feedback", {"intValue": "1"}), record("solved", {"doubleValue": 0}), {"body": {}}]
    items = read(tmp_path, {"resourceLogs": [{"scopeLogs": [{"logRecords": logs}]}]})

    assert signals(items) == [
        {"kind": "thumbs", "value": "up"}, {"kind": "outcome", "name": "solved", "value": False},
    ]  # fmt: skip
    assert isinstance(items[-1], Silent)


def test_spans_traces_and_observations_register_their_answers(tmp_path):
    span = {
        "name": "llm", "span_kind": "LLM", "context": {"trace_id": "t", "span_id": "s1"},
        "attributes": {"input.value": '{"messages": [{"role": "user", "content": "Hi"}]}', "output.value": "Hello!"},
    }  # fmt: skip
    observation = {
        "id": "o1", "traceId": "t", "type": "GENERATION", "input": PROMPT, "model": "llama",
        "output": {"choices": [{"message": {"role": "assistant", "content": "Hello!"}}]},
    }  # fmt: skip
    trace = {"id": "t1", "userId": "ann", "sessionId": "c", "input": "Hi", "output": "Hello!",
             "scores": [{"id": "x", "name": "user-feedback", "value": 0, "dataType": "BOOLEAN"}]}  # fmt: skip
    items = read(tmp_path, span, observation, trace, {**observation, "type": "SPAN"})

    registered = [item for item in items if isinstance(item, Registered)]
    assert [(item.completion_id, item.completion.completion) for item in registered] == [
        ("s1", "Hello!"), ("o1", "Hello!"), ("t1", "Hello!"),
    ]  # fmt: skip
    assert signals(items) == [{"kind": "thumbs", "value": "down"}]
    assert isinstance(items[-1], Silent)


@pytest.mark.parametrize(
    "row",
    [
        {"traceId": "t", "name": "quality", "value": 1, "dataType": "NUMERIC", "source": "EVAL"},
        {"run_id": "r", "key": "correct", "score": 1, "feedback_source": {"type": "model"}},
        {"span_id": "s", "name": "quality", "annotator_kind": "LLM", "result": {"score": 1}},
    ],
)
def test_what_a_model_judged_says_nothing_about_users(tmp_path, row):
    [item] = read(tmp_path, row)

    assert isinstance(item, Silent)
    assert "not by a person" in item.reason


def test_a_score_on_an_unknown_scale_needs_the_option(tmp_path):
    row = {"traceId": "t", "name": "quality", "value": 8, "dataType": "NUMERIC"}

    [rejected] = read(tmp_path, row)

    assert isinstance(rejected, Rejected)
    assert "--scale MIN:MAX" in rejected.reason
    assert signals(read(tmp_path, row, scale="0:10")) == [{"kind": "rating", "value": 8, "minimum": 0, "maximum": 10}]


def test_one_score_of_a_ranking_without_the_other_is_rejected(tmp_path):
    row = {"run_id": "r", "key": "ranked", "score": 1, "feedback_group_id": "g"}

    [item] = read(tmp_path, row)

    assert isinstance(item, Rejected)
    assert "the other score of its group g" in item.reason


MAPPED = {"question": "Hi", "reply": {"text": "Hello!"}, "thumb": "5", "by": 3, "when": 1772359200, "extra": "x"}
COLUMNS = "prompt=question,completion=reply.text,label=thumb,actor=by,timestamp=when"


def test_columns_and_their_values_are_mapped_by_the_options(tmp_path):
    [item] = read(tmp_path, MAPPED, columns=COLUMNS, desirable="yes,👍,5")

    assert isinstance(item, Imported)
    assert signals([item]) == [{"kind": "thumbs", "value": "up"}]
    assert (item.event.prompt, item.event.completion, item.event.actor) == ("Hi", "Hello!", "3")
    assert item.ignored == ("extra",)


@pytest.mark.parametrize(
    ("value", "options", "becomes"),
    [
        ("👍🏽", {"desirable": "yes,👍"}, "up"),
        ("maybe", {"desirable": "yes"}, "down"),
        ("maybe", {"undesirable": "no"}, "up"),
        ("maybe", {"desirable": "yes", "undesirable": "no"}, None),
        (5.0, {"desirable": "5"}, "up"),
        (True, {}, "up"),
        ("Thumbs Down", {}, "down"),
    ],
)
def test_words_mean_what_the_options_say(tmp_path, value, options, becomes):
    [item] = read(tmp_path, {**MAPPED, "thumb": value}, columns=COLUMNS, **options)

    if becomes is None:
        assert isinstance(item, Silent)
    else:
        assert signals([item]) == [{"kind": "thumbs", "value": becomes}]


def test_a_shape_can_be_forced(tmp_path):
    row = {"prompt": "Hi", "completion": "Hello!", "label": "true"}

    [recognised], [forced] = read(tmp_path, row), read(tmp_path, row, shape="table")

    assert isinstance(recognised, Rejected)
    assert signals([forced]) == [{"kind": "thumbs", "value": "up"}]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"shape": "langfuze-scores"}, "did you mean langfuse-scores"),
        ({"columns": "prompt"}, "expected FIELD=COLUMN, got 'prompt'"),
        ({"columns": "promt=a"}, "no field is called 'promt'"),
        ({"columns": "prompt=a", "shape": "trl"}, "leave out --as trl"),
        ({"scale": "5"}, "expected MIN:MAX"),
        ({"scale": "5:1"}, "expected MIN:MAX"),
    ],
)
def test_a_wrong_option_is_refused_with_the_remedy(options, words):
    with pytest.raises(Invalid, match=words.replace("(", r"\(")):
        importing.choices(**options)


def test_a_mapped_column_that_is_not_there_is_refused_with_those_that_are(tmp_path):
    with pytest.raises(Invalid, match="no column 'quest', but by, extra"):
        read(tmp_path, MAPPED, columns="prompt=quest,label=thumb")


def test_weights_of_openai_are_judgements_where_the_user_says_so(tmp_path):
    row = {"messages": [*PROMPT, {"role": "assistant", "content": "Hello!", "weight": 0}]}

    assert isinstance(read(tmp_path, row)[0], Silent)
    assert signals(read(tmp_path, row, undesirable="0")) == [{"kind": "thumbs", "value": "down"}]
