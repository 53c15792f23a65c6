"""Files and rows as people have them: recognised, converted where that is safe, refused with the remedy elsewhere."""

import json

import pytest

from app.errors import Invalid
from app.feedback import importing
from app.feedback.importing import Imported, Rejected

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
        (b"prompt,completion,label\na,b,true\n", "CSV"),
        (json.dumps([GOOD], indent=1).encode(), "JSON document"),
        (json.dumps([GOOD]).encode(), "JSON document"),
        (b"PAR1....", "parquet"),
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


def test_an_export_of_another_tool_is_named(tmp_path):
    [item] = read(tmp_path, [{"traceId": "t", "name": "stars", "value": 1}])

    assert isinstance(item, Rejected)
    assert "an export of Langfuse" in item.reason


def test_a_directory_is_refused_with_the_remedy(tmp_path):
    with pytest.raises(Invalid, match="is a directory: name its files"):
        list(importing.read(tmp_path))
