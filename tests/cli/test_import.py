"""`thumbwheel import`: files in, a table out."""

import gzip
import json
from collections.abc import Iterable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from thumbwheel import Unreachable, wire

from app.feedback.importing.sending import BatchAnswers, Sender
from tests.cli.conftest import on_a_screen
from tests.feedback.importing.test_message_content import ANSWER, PROMPT, ROWS, TRACES
from tests.services.bucket import BUCKET, bucket, bucket_server

LINES = [
    {"kind": "preference", "prompt": "Hello?", "completions": ["Hi!", "No."], "preferred": 0},
    {"kind": "rating", "prompt": "Hello?", "completion": "Hi!", "rating": 5, "rating_min": 1, "rating_max": 5},
    {"kind": "edit", "prompt": "Hello?", "completion": "Go away.", "edit": "How can I help?"},
    {"prompt": "Hello?", "completion": "Hi!", "label": True},
    {"prompt": "Hello?", "chosen": "Hi!", "rejected": "No!"},
    {"kind": "preference", "prompt": "Hello?", "completions": ["Hi!", "No."], "preferred": None},
    {"kind": "edit", "prompt": "Hello?", "completion": "", "edit": "How can I help?"},
]


def written(path: Path, rows: Iterable[Any]) -> Path:
    content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def test_lines_of_every_kind_go_in_once_and_what_does_not_is_counted_with_its_reason(cli, client, tmp_path):
    file = written(tmp_path / "mixed.jsonl.gz", LINES)

    first, second = cli("import", file), cli("import", file)

    assert first.code == second.code == 1, first.err
    outcome = first.document[0]
    assert (outcome["stored"], outcome["replayed"], outcome["rejected"], outcome["silent"]) == (6, 0, 1, 0)
    assert sorted(outcome["reasons"].values()) == [1]
    again = second.document[0]
    assert (again["stored"], again["replayed"], again["rejected"]) == (0, 6, 1)
    assert len(list(client.events.list())) == 6


def test_more_lines_than_fit_into_a_batch_all_arrive(cli, client, tmp_path):
    rows = [{"prompt": f"Question {n}?", "completion": "Yes.", "label": n % 2 == 0} for n in range(1201)]

    done = cli("import", written(tmp_path / "many.jsonl", rows))

    assert done.document[0]["stored"] == 1201
    assert client.projects.readiness().counts.desirable == 601


def test_votes_that_wait_in_quarantine_are_said_with_the_way_to_let_them_count(cli, tmp_path):
    at = "2026-01-01T12:00:{:02}+00:00"
    rows = [
        {
            "prompt": f"Question {n}?",
            "completion": "Yes.",
            "label": n % 2 == 0,
            "user_id": "bot",
            "timestamp": at.format(n % 60),
        }
        for n in range(70)
    ]

    done = cli("import", written(tmp_path / "burst.jsonl", rows))

    assert done.document[0]["stored"] == 70
    assert "70 votes of 1 actor do not count, in quarantine (quarantined_burst 1)" in done.err
    assert "thumbwheel quarantine release" in done.err


def test_a_file_without_one_good_line_and_one_that_cannot_be_read_end_with_2(cli, tmp_path):
    (tmp_path / "bad.jsonl").write_text("{nonsense\n[]\n")
    (tmp_path / "cut.jsonl.gz").write_bytes(gzip.compress(b'{"kind": "edit"}\n' * 1000)[:40])

    bad = cli("import", tmp_path / "bad.jsonl")

    assert (bad.code, bad.document[0]["rejected"]) == (2, 2)
    assert "cut.jsonl.gz" in cli.refused("import", tmp_path / "cut.jsonl.gz")
    assert "none.jsonl" in cli.refused("import", tmp_path / "none.jsonl")


def test_a_listed_event_goes_in_again_as_a_replay(cli, client, tmp_path):
    cli("import", written(tmp_path / "rows.jsonl", [LINES[3]]))
    [event] = client.events.list()
    page = {"items": [event.model_dump(mode="json")], "next_cursor": None}

    again = cli("import", written(tmp_path / "page.jsonl", [page]))

    assert again.code == 0, again.err
    assert (again.document[0]["replayed"], again.document[0]["rejected"]) == (1, 0)


def test_a_dry_run_stores_nothing_and_rejects_are_written_with_their_lines(cli, client, tmp_path):
    rejects = tmp_path / "rejects.jsonl"

    done = cli("import", "--dry-run", "--rejects", rejects, written(tmp_path / "mixed.jsonl", LINES))

    assert done.code == 1, done.err
    assert done.document[0]["stored"] == 6
    assert [json.loads(line)["line"] for line in rejects.read_text().splitlines()] == [7]
    assert sorted(done.document[0]["first_lines"].values()) == [[7]]
    assert list(client.events.list()) == []


def test_what_the_api_rejects_is_named_with_its_line(cli, tmp_path):
    row = {**LINES[3], "id": "same"}
    rows = [LINES[5], row, {**row, "label": False}]

    done = cli("import", written(tmp_path / "conflict.jsonl", rows))

    assert done.code == 1, done.err
    assert sorted(done.document[0]["first_lines"].values()) == [[3]]


def test_what_no_run_would_learn_from_and_fields_that_are_not_kept_are_counted(cli, tmp_path):
    event = {"actor": "a", "signal": {"kind": "thumbs", "value": "up"}, "prompt": "Hi", "completion": "\u200b"}
    rows = [{**event, "completion_id": f"c{n}"} for n in range(4)] + [{**LINES[3], "weight": 2}]

    done = cli("import", "--dry-run", written(tmp_path / "rows.jsonl", rows))

    assert done.code == 0, done.err
    [outcome] = done.document
    [(reason, count)] = outcome["not_trained"].items()
    assert (outcome["stored"], count, outcome["ignored"]) == (5, 4, {"weight": 1})
    assert reason.startswith("the answer has only characters that are not visible: remove the rows")
    assert outcome["first_lines"][reason] == [1, 2, 3]


VOTE = {**LINES[3], "id": "vote-1", "user_id": "ann", "timestamp": "2026-03-01T10:00:00Z"}
CHANGED = {**VOTE, "label": False, "timestamp": "2026-03-02T10:00:00Z"}


def test_a_changed_vote_with_a_newer_time_replaces_the_older_one(cli, client, tmp_path):
    old, new = written(tmp_path / "old.jsonl", [VOTE]), written(tmp_path / "new.jsonl", [CHANGED])

    outcomes = [cli("import", file).document[0] for file in (old, new, new, old)]

    assert [outcome["stored"] for outcome in outcomes] == [1, 0, 0, 0]
    assert [outcome["superseded"] for outcome in outcomes] == [0, 1, 0, 0]
    assert [outcome["replayed"] for outcome in outcomes] == [0, 0, 1, 1]
    newer, older = client.events.list()
    assert (older.event_id, newer.supersedes) == ("vote-1", "vote-1")
    assert client.completions.explain_label(older.completion_id).label == "undesirable"


def test_an_older_version_of_a_stored_vote_says_nothing_and_one_without_a_newer_time_is_rejected(cli, tmp_path):
    cli("import", written(tmp_path / "new.jsonl", [CHANGED]))

    older = cli("import", written(tmp_path / "old.jsonl", [VOTE]))
    same_time = cli("import", written(tmp_path / "same.jsonl", [{**CHANGED, "label": True}]))

    assert (older.code, older.document[0]["silent"]) == (0, 1)
    assert (same_time.code, same_time.document[0]["rejected"]) == (2, 1)


def test_a_key_that_may_not_read_cannot_replace_and_says_so(cli, client, tmp_path):
    key = client.keys.create(wire.NewKey(name="writer", scopes=["feedback:write"], project="acme")).secret
    files = [written(tmp_path / f"{n}.jsonl", [row]) for n, row in enumerate((VOTE, CHANGED))]

    done = cli("import", *files, THUMBWHEEL_API_KEY=key)

    assert done.code == 1, done.err
    [reason] = done.document[1]["reasons"]
    assert "needs feedback:read" in reason or "the scope feedback:read" in reason


RUN = {
    "id": "r1", "run_type": "llm", "inputs": {"messages": [{"role": "user", "content": "Hi"}]},
    "outputs": {"output": "Hello!"}, "extra": {"metadata": {}},
}  # fmt: skip
SCORE = {"id": "s1", "run_id": "r1", "key": "user_score", "score": 1, "feedback_source": {"type": "app"}}


def test_answers_and_scores_come_in_any_order_and_a_changed_tag_changes_nothing(cli, client, tmp_path):
    runs, scores = written(tmp_path / "runs.jsonl", [RUN]), written(tmp_path / "scores.jsonl", [SCORE])
    tagged = {**RUN, "extra": {"metadata": {"ls_model_name": "llama"}}}
    other = {**RUN, "outputs": {"output": "Bye."}}

    first = cli("import", scores, runs)
    again = cli("import", written(tmp_path / "tagged.jsonl", [tagged]))
    rewritten = cli("import", written(tmp_path / "other.jsonl", [other]))

    assert [(outcome["stored"], outcome["registered"]) for outcome in first.document] == [(1, 0), (0, 1)]
    assert (again.code, again.document[0]["replayed"]) == (0, 1)
    assert (rewritten.code, rewritten.document[0]["rejected"]) == (2, 1)
    judged = client.completions.explain_label("r1")
    assert (judged.label, judged.completion) == ("desirable", "Hello!")


def test_an_interrupted_import_continues_after_the_records_that_are_stored(cli, client, tmp_path, monkeypatch):
    rows = [{"prompt": f"Question {n}?", "completion": "Yes.", "label": n % 2 == 0} for n in range(1201)]
    file = written(tmp_path / "many.jsonl", [*rows, {"prompt": "Hi"}])
    data = {"THUMBWHEEL_DATA_DIR": str(tmp_path / "data")}
    post, batches = Sender.post, count()

    def broken(self: Sender, items: list[Any]) -> BatchAnswers:
        if next(batches) == 2:
            raise Unreachable("http://nowhere", OSError("gone"))
        return post(self, items)

    with monkeypatch.context() as patch:
        patch.setattr(Sender, "post", broken)
        assert "gone" in cli.refused("import", file, **data)
    continued, again = cli("import", file, **data), cli("import", file, **data)

    outcome = continued.document[0]
    assert "continues after 1,000" in continued.err
    assert (outcome["skipped"], outcome["stored"], outcome["replayed"], outcome["rejected"]) == (1000, 201, 0, 1)
    assert (again.document[0]["skipped"], again.document[0]["replayed"]) == (0, 1201)
    assert len({event.event_id for event in client.events.list()}) == 1201


def test_a_dry_run_shows_ten_rows_and_every_field_that_would_be_lost(cli, tmp_path):
    rows = [{"question": f"Question {n}?", "answer": "Yes.", "thumb": "yes", "mood": "good", "n": n} for n in range(12)]
    file = written(tmp_path / "rows.jsonl", rows)
    options = ("--dry-run", "--map", "prompt=question,completion=answer,label=thumb", "--desirable", "yes,👍")

    [outcome] = cli("import", *options, file).document
    shown = on_a_screen(cli, "import", *options, file)

    assert (outcome["stored"], len(outcome["rows"])) == (12, 10)
    assert outcome["ignored"] == {"mood": 12, "n": 12}
    first = {"line": 1, "signal": "thumbs", "value": {"value": "up"}, "prompt": "Question 0?", "completion": "Yes."}
    assert first.items() <= outcome["rows"][0].items()
    assert "Question 9?" in shown
    assert "Question 10?" not in shown
    assert "fields that are not imported: mood (12 rows), n (12 rows)" in shown


def test_files_of_a_folder_that_hold_no_records_are_passed_over(cli, tmp_path):
    written(tmp_path / "rows.jsonl", [LINES[3]])
    (tmp_path / "README.txt").write_text("Exported on Monday.")

    done = cli("import", tmp_path)

    assert done.code == 0, done.err
    assert "plain text" in done.document[0]["not_understood"]
    assert done.document[1]["stored"] == 1


def test_a_file_that_is_not_understood_is_refused_before_anything_is_sent(cli, client, tmp_path):
    good = written(tmp_path / "rows.jsonl", [LINES[3]])

    line = cli.refused("import", good, written(tmp_path / "other.jsonl", [{"text": "Hi"}]))

    assert "other.jsonl has no known shape" in line
    assert list(client.events.list()) == []


@pytest.mark.trial
def test_objects_on_s3_are_imported_one_after_the_other(cli, tmp_path, monkeypatch):
    with bucket_server() as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        files = bucket()
        for name, row in {"a.jsonl": LINES[3], "b.jsonl": LINES[1]}.items():
            files.put_file(str(written(tmp_path / name, [row])), f"{BUCKET}/export/{name}")

        one, all_of_them = cli("import", f"s3://{BUCKET}/export/a.jsonl"), cli("import", f"s3://{BUCKET}/export/")
        nothing = cli.refused("import", f"s3://{BUCKET}/other/")

    assert one.document[0]["stored"] == 1
    assert [(outcome["stored"], outcome["replayed"]) for outcome in all_of_them.document] == [(0, 1), (1, 0)]
    assert "has no files" in nothing


def test_tools_calls_and_reasoning_are_shown_and_stored_once(cli, client, tmp_path):
    file = written(tmp_path / "rows.jsonl", [ROWS["trl"], TRACES["tensorzero"]])

    shown = on_a_screen(cli, "import", "--dry-run", file)
    [first], [second] = cli("import", file).document, cli("import", file).document

    assert "[reasoning]" in shown
    assert (first["stored"], first["registered"], first["not_trained"]) == (1, 1, {})
    assert (second["stored"], second["registered"], second["replayed"]) == (0, 0, 2)
    [event] = client.events.list()
    assert (event.prompt, event.completion) == (PROMPT, ANSWER)
