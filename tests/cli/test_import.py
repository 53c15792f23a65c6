"""`thumbwheel import`: files in, a table out."""

import gzip
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

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
