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

    assert first.code == second.code == 0, first.err
    outcome = first.document[0]
    assert (outcome["stored"], outcome["replayed"], outcome["rejected"], outcome["silent"]) == (5, 0, 1, 1)
    assert sorted(outcome["reasons"].values()) == [1, 1]
    assert any("tie" in reason for reason in outcome["reasons"])
    again = second.document[0]
    assert (again["stored"], again["replayed"], again["rejected"]) == (0, 5, 1)
    assert len(list(client.events())) == 5


def test_more_lines_than_fit_into_a_batch_all_arrive(cli, client, tmp_path):
    rows = [{"prompt": f"Question {n}?", "completion": "Yes.", "label": n % 2 == 0} for n in range(1201)]

    done = cli("import", written(tmp_path / "many.jsonl", rows))

    assert done.document[0]["stored"] == 1201
    assert client.readiness().counts.desirable == 601


def test_a_file_without_one_good_line_ends_with_1_and_one_that_cannot_be_read_with_2(cli, tmp_path):
    (tmp_path / "bad.jsonl").write_text("{nonsense\n[]\n")
    (tmp_path / "cut.jsonl.gz").write_bytes(gzip.compress(b'{"kind": "edit"}\n' * 1000)[:40])

    bad = cli("import", tmp_path / "bad.jsonl")

    assert (bad.code, bad.document[0]["rejected"]) == (1, 2)
    assert "cut.jsonl.gz" in cli.refused("import", tmp_path / "cut.jsonl.gz")
    assert "none.jsonl" in cli.refused("import", tmp_path / "none.jsonl")
