"""Common file formats are recognised, converted if that is safe, and otherwise refused with a remedy."""

import json

import pytest

from app.errors import Invalid
from app.feedback import importing
from app.feedback.importing import Imported, Rejected, Silent

ASSISTANT = [{"role": "assistant", "content": "Yes."}]
GOOD = {"prompt": "Hi", "completion": "Yes.", "label": True}


def read(tmp_path, content):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(
        content if isinstance(content, bytes) else "".join(json.dumps(row) + "\n" for row in content).encode()
    )
    return list(importing.read(path))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        *(
            (json.dumps(GOOD).encode(name), "not UTF-8")
            for name in ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le")
        ),
        (b"PAR1....", "parquet"),
        (b"BZh9", "bzip2"),
        (b"A sentence\nand another one.", "plain text"),
        (b"", "empty"),
        (b" \n\n", "empty"),
        (b"<html></html>", "HTML"),
        (b"some\x00binary", "binary"),
    ],
)  # fmt: skip
def test_a_file_of_another_kind_is_refused_once_with_the_remedy(tmp_path, content, words):
    with pytest.raises(Invalid, match=words):
        read(tmp_path, content)


def test_integers_are_taken_as_ids_and_booleans_and_fractions_are_not(tmp_path):
    rows = [{**GOOD, "user_id": 42, "id": 7}, {**GOOD, "user_id": True}, {**GOOD, "user_id": 1.5}]
    first, *others = read(tmp_path, rows)

    assert isinstance(first, Imported)
    assert (first.event.actor, first.event.event_id) == ("42", "7")
    assert [type(item) for item in others] == [Rejected, Rejected]


def test_roles_of_sharegpt_are_mapped_and_others_refused(tmp_path):
    rows = [
        {**GOOD, "prompt": [{"role": a, "content": "Hi"}], "completion": [{"role": b, "content": "Yes."}]}
        for a, b in (("human", "gpt"), ("User", "Assistant"), ("user", "user"))
    ]
    first, *others = read(tmp_path, rows)

    assert isinstance(first, Imported)
    assert first.event.prompt[0].role == "user"
    assert [type(item) for item in others] == [Rejected, Rejected]


def test_bodies_of_events_and_listed_events_go_in(tmp_path):
    body = {"completion_id": 5, "actor": 6, "event_id": 7, "signal": {"kind": "thumbs", "value": "up"}}
    listed = {
        **body,
        "event_id": "e",
        "position": 3,
        "received_at": "2026-01-01T00:00:00Z",
        "prompt": None,
        "metadata": {},
    }
    events = [item.event for item in read(tmp_path, [body, listed]) if isinstance(item, Imported)]

    assert [(event.completion_id, event.actor, event.event_id) for event in events] == [
        ("5", "6", "7"),
        ("5", "6", "e"),
    ]


def test_the_rows_of_a_batch_and_of_a_page_go_in_with_the_number_of_their_line(tmp_path):
    body = {"completion_id": "c", "actor": "a", "signal": {"kind": "thumbs", "value": "up"}}
    pages = [
        {"events": [{**body, "event_id": "1"}, {**body, "event_id": "2"}]},
        {"items": [{**body, "event_id": "3"}], "next_cursor": None},
    ]

    items = read(tmp_path, pages)

    assert [(item.line, item.event.event_id) for item in items if isinstance(item, Imported)] == [
        (1, "1"),
        (1, "2"),
        (2, "3"),
    ]


def test_a_comment_beside_a_rating_is_an_event_with_the_same_id_at_each_import(tmp_path):
    row = {"kind": "rating", "prompt": "Hi", "completion": "Yes.", "rating": 5, "comment": "Well put."}
    first, again = read(tmp_path, [row]), read(tmp_path, [row])

    assert [item.event.signal.kind for item in first if isinstance(item, Imported)] == ["rating", "comment"]
    assert first == again


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [{"role": "user", "content": "Hi"}, *ASSISTANT]},
        {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Yes."}]},
        {"instruction": "Greet", "input": "", "output": "Hi"},
    ],
)
def test_a_conversation_without_a_judgement_says_nothing(tmp_path, row):
    [item] = read(tmp_path, [row])

    assert isinstance(item, Silent)
    assert "has no judgement" in item.reason


def test_a_file_of_an_unknown_shape_is_refused_with_its_fields_and_both_remedies(tmp_path):
    with pytest.raises(Invalid, match="no known shape") as refusal:
        read(tmp_path, [{"text": "Hi", "mood": "good"}])

    for words in ("the fields text, mood", "--map prompt=COLUMN", "--as: thumbwheel, rows"):
        assert words in refusal.value.message


def test_a_row_of_an_unknown_shape_among_others_is_rejected_alone(tmp_path):
    items = read(tmp_path, [GOOD, {"text": "Hi"}])

    assert [type(item) for item in items] == [Imported, Rejected]


LONG = {**GOOD, "completion": "Yes. " * 1000}
BODY = {"completion_id": "c", "actor": "a", "signal": {"kind": "thumbs", "value": "up"}}


@pytest.mark.parametrize(
    "document",
    [
        json.dumps([LONG] * 300),
        json.dumps([LONG] * 300, indent=1),
        " [ " + json.dumps(LONG) + " ]",
        json.dumps(GOOD, indent=1),
        '{"prompt": "Hi",\n "completion": "Yes.", "label": true}',
        json.dumps({"events": [BODY] * 3}, indent=1),
        '{"events": [\n' + json.dumps(BODY) + "\n]}",
        json.dumps(GOOD, indent=1) + "\n" + json.dumps(GOOD, indent=1),
    ],
)
def test_one_json_document_goes_in_item_by_item(tmp_path, document):
    items = read(tmp_path, b"\xef\xbb\xbf" + document.encode())

    assert {type(item) for item in items} == {Imported}
    assert [item.line for item in items] == list(range(1, len(items) + 1))


@pytest.mark.parametrize("end", ["", "]x", ', {"prompt": NaN}]'])
def test_a_broken_document_gives_the_items_before_the_fault(tmp_path, end):
    items = read(tmp_path, ("[" + ",".join([json.dumps(GOOD)] * 3) + end).encode())

    assert [type(item) for item in items] == [Imported, Imported, Imported, Rejected]
    assert items[-1].line == 4


def test_the_arrays_of_a_record_are_not_taken_for_records(tmp_path):
    task = {"id": 1, "annotations": [{"result": []}], "data": {"prompt": "Hi", "response": "Yes."}}

    [item] = read(tmp_path, json.dumps(task, indent=1).encode())

    assert isinstance(item, Silent)


@pytest.mark.parametrize("name", ["events", "items"])
def test_a_batch_of_over_a_mebibyte_in_one_line_is_read_item_by_item(tmp_path, name):
    items = read(tmp_path, [{name: [BODY] * 20_000}])

    assert len(items) == 20_000
    assert items[-1].line == 20_000


@pytest.mark.parametrize("first", ["{nonsense", "[1, 2]", '{"prompt": "a', "{" * 100_000])
def test_a_broken_first_line_is_rejected_alone(tmp_path, first):
    content = (first + "\n" + json.dumps(GOOD) + "\n").encode()

    assert [type(item) for item in read(tmp_path, content)] == [Rejected, Imported]


def test_a_directory_is_refused_with_the_remedy(tmp_path):
    with pytest.raises(Invalid, match="is a folder: name its files"):
        list(importing.read(tmp_path))


def test_a_comment_beside_the_signal_of_an_event_s_body_is_kept(tmp_path):
    body = {**BODY, "event_id": "e2", "supersedes": "e1", "comment": "Well put."}
    first, again = read(tmp_path, [body]), read(tmp_path, [body])

    vote, comment = (item.event for item in first if isinstance(item, Imported))
    assert (vote.signal.kind, vote.event_id, vote.supersedes) == ("thumbs", "e2", "e1")
    assert (comment.signal.kind, comment.signal.text, comment.supersedes) == ("comment", "Well put.", None)
    assert comment.completion_id == vote.completion_id
    assert first == again


CHAT = [{"role": "user", "content": "Hi"}]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({**GOOD, "tools": [{"name": "f"}], "images": ["a.png"]}, "belongs to the row (images)"),
        ({**GOOD, "prompt": [{**CHAT[0], "images": ["a.png"]}]}, "prompt: a field that the model would not see"),
        ({**GOOD, "completion": [{"role": "assistant", "content": "Yes.", "function_call": {"name": "f"}}]},
         "completion: a field that the model would not see belongs to the row (function_call)"),
        ({"prompt": "Hi", "chosen": "A", "rejected": [{"role": "assistant", "content": "B", "thinking": "Hm."}]},
         "the other answer has thinking: only a text can stand here"),
        ({**GOOD, "completion": "\u200b"}, "only characters that are not visible"),
    ],
)  # fmt: skip
def test_a_row_that_training_would_drop_for_what_gets_lost_is_rejected_with_the_fields(tmp_path, row, words):
    [item] = read(tmp_path, [row])

    assert isinstance(item, Rejected)
    assert words in item.reason


def test_an_event_that_no_run_would_learn_from_is_stored_with_the_reason(tmp_path):
    texts = {"prompt": "Hi", "completion": "Yes."}
    rows = [
        {**BODY, **texts},
        {**BODY, "prompt": "Hi", "completion": "\u200b"},
        {**BODY, **texts, "signal": {"kind": "edit", "text": "\u200b"}},
        {**BODY, **texts, "prompt": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
    ]

    faults = [item.fault for item in read(tmp_path, rows) if isinstance(item, Imported)]

    assert [fault and fault.reason for fault in faults] == [
        None, "invisible_answer", "invisible_answer", "media_content",
    ]  # fmt: skip


def test_fields_that_no_event_keeps_are_named(tmp_path):
    [item] = read(tmp_path, [{**GOOD, "weight": 2, "source": "a paper", "score_reason": "x"}])

    assert isinstance(item, Imported)
    assert item.ignored == ("weight", "score_reason")
