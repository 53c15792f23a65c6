"""Feedback files, line by line: events, broken lines, and lines without a signal."""

import gzip
import json
from collections import Counter
from pathlib import Path

import pytest

from app.errors import Invalid
from app.feedback import importing
from app.feedback.importing import Imported, Rejected, Silent

PROMPT = [{"role": "user", "content": "Hi"}]


def assistant(text: str) -> list[dict]:
    return [{"role": "assistant", "content": text}]


def read(tmp_path: Path, *rows: object) -> list[Imported | Rejected | Silent]:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return list(importing.read(path))


def one(tmp_path: Path, row: object) -> Imported:
    [item] = read(tmp_path, row)
    assert isinstance(item, Imported), item
    return item


def signal(tmp_path: Path, row: dict) -> dict:
    return one(tmp_path, row).event.signal.model_dump()


def test_a_labelled_row_of_messages_is_a_thumb(tmp_path):
    event = one(tmp_path, {"prompt": PROMPT, "completion": assistant("Hello!"), "label": False, "user_id": "ann"}).event

    assert event.signal.model_dump() == {"kind": "thumbs", "value": "down"}
    assert [message.model_dump(exclude_none=True) for message in event.prompt] == PROMPT
    assert (event.completion, event.actor) == ("Hello!", "ann")


def test_a_labelled_row_of_text_keeps_its_spaces(tmp_path):
    event = one(tmp_path, {"prompt": "User: Hi\nAssistant:", "completion": " Hello!", "label": True}).event

    assert (event.prompt, event.completion) == ("User: Hi\nAssistant:", " Hello!")


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": PROMPT, "chosen": assistant("Hello!"), "rejected": assistant("No.")},
        {"prompt": PROMPT, "chosen": "Hello!", "rejected": "No."},
        {"chosen": PROMPT + assistant("Hello!"), "rejected": PROMPT + assistant("No.")},
        {"kind": "preference", "prompt": PROMPT, "completions": ["No.", "Hello!"], "preferred": 1},
    ],
)
def test_a_pair_is_a_preference(tmp_path, row):
    event = one(tmp_path, row).event

    assert event.completion == "Hello!"
    assert event.signal.kind == "preference"
    assert event.signal.rejected == "No."


def test_votes_on_one_pair_are_about_the_same_two_completions(tmp_path):
    pair = {"kind": "preference", "prompt": "Hi", "completions": ["A", "B"]}
    first, second = read(tmp_path, {**pair, "preferred": 0, "id": "1"}, {**pair, "preferred": 1, "id": "2"})

    assert isinstance(first, Imported)
    assert isinstance(second, Imported)
    assert first.event.completion_id == second.event.signal.rejected_completion_id
    assert second.event.completion_id == first.event.signal.rejected_completion_id


def test_a_rating_brings_its_scale(tmp_path):
    row = {"kind": "rating", "prompt": "Hi", "completion": "Yes?", "rating": 3, "rating_min": 0, "rating_max": 10}

    assert signal(tmp_path, row) == {"kind": "rating", "value": 3, "minimum": 0, "maximum": 10}


def test_an_edit_is_an_edit_and_an_unchanged_one_an_accept(tmp_path):
    row = {"kind": "edit", "prompt": "Hi", "completion": "Yes?"}

    assert signal(tmp_path, {**row, "edit": "Hello!"}) == {"kind": "edit", "text": "Hello!"}
    assert signal(tmp_path, {**row, "edit": "Yes?"}) == {"kind": "accept"}


def test_what_was_copied_is_a_copy_and_what_was_not_says_nothing(tmp_path):
    row = {"kind": "implicit", "signal": "copied", "prompt": PROMPT, "completion": "x = 1"}

    assert signal(tmp_path, {**row, "label": True}) == {"kind": "copy"}
    assert isinstance(read(tmp_path, {**row, "label": False})[0], Silent)


def test_a_flag_is_the_thumb_of_the_annotator(tmp_path):
    row = {"kind": "flag", "prompt": "How do I kill a process?", "completion": "I cannot help.", "label": False}

    assert signal(tmp_path, row) == {"kind": "thumbs", "value": "down"}


def test_equal_answers_say_nothing(tmp_path):
    assert [type(item) for item in read(tmp_path, {"prompt": "Hi", "chosen": "A", "rejected": "A"})] == [Silent]


def test_a_tie_is_a_comparison_without_a_preference(tmp_path):
    tie = {"kind": "preference", "prompt": "Hi", "completions": ["A", "B"], "preferred": None}

    event = one(tmp_path, tie).event

    assert (event.completion, event.signal.rejected, event.signal.tie) == ("A", "B", True)


def test_of_a_comparison_with_an_empty_answer_the_other_one_is_kept(tmp_path):
    pair = {"kind": "preference", "prompt": "Hi", "completions": ["", "B"]}

    against, tie, in_favour = read(tmp_path, *({**pair, "preferred": preferred} for preferred in (1, None, 0)))

    for item in (against, tie):
        assert isinstance(item, Imported)
        assert (item.event.completion, item.event.signal.rejected) == ("B", None)
        assert item.event.signal.rejected_completion_id is not None
    assert isinstance(in_favour, Rejected)
    assert in_favour.reason == "the preferred answer is empty"


def test_lines_say_that_they_were_imported_but_for_those_of_the_listing(tmp_path):
    event = {"completion_id": "c", "actor": "ann", "signal": {"kind": "copy"}}
    listed = {**event, "received_at": "2026-01-01T00:00:00Z", "occurred_at": "2026-01-01T00:00:00Z", "position": 1}
    rows = ({"prompt": "Hi", "completion": "A", "label": True}, event, listed, {**listed, "origin": "import"})

    origins = [item.event.origin for item in read(tmp_path, *rows) if isinstance(item, Imported)]

    assert origins == ["import", "import", None, "import"]


def test_time_and_origin_are_kept(tmp_path):
    event = one(
        tmp_path,
        {
            "id": "set:7", "kind": "rating", "prompt": "Hi", "completion": "Yes?", "rating": 5, "user_id": "a b",
            "timestamp": "2022-09-29T23:30:30.868Z", "source": "a paper", "licence": "MIT", "model": None,
        },
    ).event  # fmt: skip

    assert (event.event_id, event.actor) == ("set:7", "a b")
    assert event.occurred_at is not None
    assert event.occurred_at.isoformat() == "2022-09-29T23:30:30.868000+00:00"
    assert event.metadata == {"source": "a paper", "licence": "MIT"}


@pytest.mark.parametrize(("sent", "stored"), [("chat-7", "chat-7"), (7, "7"), (None, None)])
def test_the_conversation_is_kept(tmp_path, sent, stored):
    labelled = {"prompt": "Hi", "completion": "Yes?", "label": True, "conversation_id": sent}
    signal = {"completion_id": "c1", "actor": "ann", "signal": {"kind": "copy"}, "conversation_id": sent}

    assert one(tmp_path, labelled).event.conversation_id == stored
    assert one(tmp_path, signal).event.conversation_id == stored


def test_the_id_of_the_completion_is_kept(tmp_path):
    labelled = {"prompt": "Hi", "completion": "Yes?", "label": True, "completion_id": "msg-7"}

    assert one(tmp_path, labelled).event.completion_id == "msg-7"


def test_a_conversation_that_is_no_id_is_rejected_with_its_name(tmp_path):
    row = {"prompt": "Hi", "completion": "Yes?", "label": True, "conversation_id": 1.5}

    [item] = read(tmp_path, row)

    assert isinstance(item, Rejected)
    assert "conversation_id is 1.5" in item.reason


def test_ids_are_the_same_at_the_next_import_also_in_another_order(tmp_path):
    rows = [{"prompt": "Hi", "completion": text, "label": label} for text in "ab" for label in (True, False)]

    ids = {item.event.event_id for item in read(tmp_path, *rows) if isinstance(item, Imported)}
    again = {item.event.event_id for item in read(tmp_path, *rows[::-1]) if isinstance(item, Imported)}

    assert ids == again
    assert len(ids) == 4


def test_equal_rows_are_votes_of_different_people(tmp_path):
    row = {"prompt": "Hi", "completion": "Yes?", "label": True}
    first, second = read(tmp_path, row, row)

    assert isinstance(first, Imported)
    assert isinstance(second, Imported)
    assert first.event.completion_id == second.event.completion_id
    assert first.event.event_id != second.event.event_id
    assert first.event.actor != second.event.actor


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ([1, 2], "not a JSON object"),
        ({"prompt": "Hi"}, "no known shape"),
        ({"kind": "applause"}, "kind is 'applause'"),
        ({"kind": ["edit"]}, "kind is"),
        ({"prompt": "Hi", "completion": "Yes?", "label": "true"}, 'label is "true"'),
        ({"prompt": "Hi", "completion": "Yes?", "label": 1}, "label is 1"),
        ({"prompt": "Hi", "completion": "Yes?", "label": None}, "label is null"),
        ({"prompt": "Hi", "completion": "", "label": True}, "completion is empty"),
        ({"prompt": "Hi", "completion": [], "label": True}, "exactly one message"),
        ({"prompt": "Hi", "completion": [*assistant("a"), *assistant("b")], "label": True}, "exactly one message"),
        ({"prompt": "Hi", "completion": PROMPT, "label": True}, "exactly one message of the assistant"),
        ({"completion": "Yes?", "label": True}, "prompt is missing"),
        ({"prompt": " ", "completion": "Yes?", "label": True}, "/prompt"),
        ({"prompt": [{"role": "bot", "content": "Hi"}], "completion": "Yes?", "label": True}, "/prompt/0/role"),
        ({"prompt": "a\x00b", "completion": "Yes?", "label": True}, "NUL"),
        ({"prompt": "\ud83d", "completion": "Yes?", "label": True}, "/prompt"),
        ({"prompt": "Hi", "chosen": "A"}, "rejected is missing"),
        ({"chosen": "A", "rejected": "B"}, "prompt is missing"),
        ({"chosen": assistant("A"), "rejected": assistant("B")}, "share no first message"),
        ({"kind": "preference", "prompt": "Hi", "completions": ["A"], "preferred": 0}, "list of two"),
        ({"kind": "preference", "prompt": "Hi", "completions": ["A", "B"], "preferred": True}, "preferred is True"),
        ({"kind": "rating", "prompt": "Hi", "completion": "A", "rating": 6}, "between 1 and 5"),
        ({"kind": "rating", "prompt": "Hi", "completion": "A", "rating": "5"}, "must be a number"),
        ({"kind": "implicit", "prompt": "Hi", "completion": "A", "signal": "stared", "label": True}, "signal is"),
        ({"prompt": [{"role": "assistant", "tool_calls": [{}]}], "completion": "A", "label": True}, "/tool_calls/0"),
        ({"prompt": "Hi", "tools": "{", "completion": "A", "label": True}, "tools is a text that is not JSON"),
    ],
)
def test_a_broken_row_is_rejected_with_its_line_and_reason(tmp_path, row, reason):
    good = {"prompt": "Hi", "completion": "Yes?", "label": True}
    _, item, _ = read(tmp_path, good, row, good)

    assert isinstance(item, Rejected)
    assert item.line == 2
    assert reason in item.reason


def test_lines_that_are_no_json_are_rejected_and_empty_ones_passed_over(tmp_path):
    path = tmp_path / "rows.jsonl"
    good = b'{"prompt": "Hi", "completion": "Yes?", "label": true}'
    path.write_bytes(
        b"\xef\xbb\xbf" + good + b"\r\n\n  \n{\n\xff\xfe\n" + b'{"label": NaN}\n' + b"[" * 100_000 + b"\n" + good
    )

    items = list(importing.read(path))

    assert [(type(item), item.line) for item in items] == [
        (Imported, 1), (Rejected, 4), (Rejected, 5), (Rejected, 6), (Rejected, 7), (Imported, 8),
    ]  # fmt: skip


def test_a_monstrous_line_is_rejected_and_the_next_one_read(tmp_path):
    path = tmp_path / "rows.jsonl"
    good = b'{"prompt": "Hi", "completion": "Yes?", "label": true}\n'
    path.write_bytes(good + b"x" * 9_000_000 + b"\n" + good)

    assert [(type(item), item.line) for item in importing.read(path)] == [(Imported, 1), (Rejected, 2), (Imported, 3)]


def test_a_gzipped_file_is_read_whatever_its_name(tmp_path):
    path = tmp_path / "rows"
    path.write_bytes(gzip.compress(b'{"prompt": "Hi", "completion": "Yes?", "label": true}\n'))

    assert [type(item) for item in importing.read(path)] == [Imported]


@pytest.mark.parametrize("content", [None, gzip.compress(b"{}\n" * 10_000, mtime=0)[:-20]], ids=["absent", "cut off"])
def test_a_file_that_is_not_there_or_cut_off_is_named(tmp_path, content):
    path = tmp_path / "rows.jsonl.gz"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(Invalid, match=r"rows\.jsonl\.gz"):
        list(importing.read(path))


def test_the_real_files_are_read_to_the_last_line(shared_data):
    counts = {
        name: Counter(
            item.event.signal.kind if isinstance(item, Imported) else type(item).__name__
            for item in importing.read(shared_data / "events" / f"{name}.jsonl.gz")
        )
        for name in ("hh_harmless", "halie_summary_edits", "realhumaneval_chat", "xstest_refusals", "crowdrag_votes")
    }

    assert counts == {
        "hh_harmless": {"preference": 2303},
        "halie_summary_edits": {"edit": 673, "accept": 127},
        "realhumaneval_chat": {"copy": 362, "Silent": 691},
        "xstest_refusals": {"thumbs": 2250},
        "crowdrag_votes": {"preference": 6920},
    }
