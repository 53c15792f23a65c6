"""A log that is copied out and in again: an equal log, with equal labels and an equal snapshot."""

import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from thumbwheel import wire

from app.database import transaction
from app.errors import Conflict, Invalid
from app.feedback import service as feedback
from app.feedback.copying import service as copying
from app.labels.listing import service as listing
from app.project_setup import service as project_setup
from app.snapshots import service as snapshots
from benchmarks.labels.logs import fill
from tests.desk import DESK, execute, make_project
from tests.logged import register, store

EVENTS = 600
#: What no benchmark writes: conversations, comparisons, imports without a time, events that no snapshot may have.
OTHERS: list[dict[str, Any]] = [
    {"event_id": "first", "completion_id": "x1", "actor": "ann", "prompt": "A?", "completion": "B.",
     "signal": {"kind": "thumbs", "value": "up"}, "conversation_id": "talk", "metadata": {"n": 1.0, "line": "a\nb"}},
    {"event_id": "second", "completion_id": "x1", "actor": "ann", "signal": {"kind": "thumbs", "value": "down"},
     "supersedes": "first"},
    {"event_id": "compared", "completion_id": "x2", "actor": "bob", "prompt": [{"role": "user", "content": "A?"}],
     "completion": "C.", "signal": {"kind": "preference", "rejected": "D."}},
    {"event_id": "never", "completion_id": "x3", "actor": "bob", "prompt": [{"role": "user", "content": "E?"}],
     "completion": {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": {"n": 1}}}]},
     "signal": {"kind": "edit", "text": "F!"}, "never_train": True},
    {"event_id": "old", "completion_id": "x4", "actor": "cy", "prompt": "G?", "completion": "H.", "origin": "import",
     "signal": {"kind": "rating", "value": 5, "minimum": 1, "maximum": 5}},
    {"event_id": "gone", "completion_id": "x4", "actor": "dee", "signal": {"kind": "comment", "text": "secret"}},
    {"event_id": "dated", "completion_id": "x5", "actor": "cy", "signal": {"kind": "thumbs", "value": "up"},
     "occurred_at": "2026-02-03T04:05:06.789012Z"},
]  # fmt: skip


def fill_log(database: str) -> None:
    make_project()
    fill(database.replace("+psycopg", ""), DESK, EVENTS)
    store(DESK, OTHERS[:5])
    reasoned = {"role": "assistant", "content": "J.", "reasoning_content": "Because."}
    asked = {
        "messages": [{"role": "user", "content": [{"type": "text", "text": "I?"}]}],
        "tools": [{"type": "function", "function": {"name": "f"}}],
    }
    register(DESK, "x5", {"prompt": asked, "completion": reasoned, "token_ids": [1, 2], "log_probs": [-0.1, -2.5]})
    store(DESK, OTHERS[5:])
    with transaction() as session:
        execute("DELETE FROM events WHERE event_id = 'gone'")
        assert copying.end(session, DESK).watermark == EVENTS + 8


def lines_of(project: str, until: int = EVENTS + 8) -> list[bytes]:
    """Returns the rows of a log in their order."""
    lines: list[bytes] = []
    with transaction() as session:
        for kind in ("events", "completions"):
            after = 0
            while page := copying.page(session, project, kind, after=after, until=until, compress=False):
                lines += page.splitlines()
                after = json.loads(lines[-1])["position"]
    return sorted(lines, key=lambda line: json.loads(line)["position"])


def copy_in(project: str, lines: list[bytes]) -> wire.CopyReceipt:
    with transaction() as session:
        return copying.copy_in(session, project, copying.copied_rows(lines))


def labels_of(project: str) -> bytes:
    file = io.BytesIO()
    with transaction() as session:
        listing.write(session, project, None, file)
    return gzip.decompress(file.getvalue())


def snapshot_of(folder: Path, project: str = DESK, live: int = 1) -> dict[str, str]:
    """Returns the hashes of a snapshot's files. `live`: the checkpoint that is live, in numbers."""
    with transaction() as session:
        built = snapshots.build(
            session, project, wire.SnapshotRules(minimum_per_class=20), "kto", watermark=EVENTS + 8, seed=1,
            shipped_checkpoint_id=UUID(int=live), folder=folder,
        )  # fmt: skip
    return built.files


def test_a_copied_log_has_the_rows_labels_and_snapshot_of_the_log(
    database: str, empty: Callable[[], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(copying, "PAGE_ROWS", 250)
    fill_log(database)
    lines, labels, files = lines_of(DESK), labels_of(DESK), snapshot_of(tmp_path / "first")
    assert len(lines) == EVENTS + 7
    empty()
    make_project()
    make_project("other")

    for project in (DESK, "other"):
        receipts = [copy_in(project, lines[start : start + 200]) for start in range(0, len(lines), 200)]
        assert sum(receipt.stored for receipt in receipts) == len(lines)

    assert lines_of(DESK) == lines_of("other") == lines
    assert labels_of(DESK) == labels_of("other") == labels
    assert snapshot_of(tmp_path / "second") == files
    assert snapshot_of(tmp_path / "third", live=2) == files  # the same snapshot, which keeps its origin
    with transaction() as session:
        project_setup.change(session, "other", wire.ProjectChange(split_key=DESK), "key test")
    of_another = snapshot_of(tmp_path / "fourth", "other", live=2)
    assert {name for name in files if of_another[name] != files[name]} == {"origin.json", "card.md"}
    with transaction() as session, pytest.raises(Conflict, match="has snapshots") as refused:
        project_setup.change(session, "other", wire.ProjectChange(split_key="third"), "key test")
    assert refused.value.code == "split_fixed"


def test_rows_that_are_there_are_replayed_and_the_log_goes_on_behind_them(database: str, empty: Callable[[], None]):
    fill_log(database)
    lines = lines_of(DESK)
    empty()
    make_project()

    first, again = copy_in(DESK, lines[:300]), copy_in(DESK, lines[200:400])
    assert (first.stored, again.stored, again.replayed, again.watermark) == (300, 100, 100, 400)
    assert copy_in(DESK, lines[400:]).watermark == EVENTS + 8

    store(DESK, [{**OTHERS[0], "event_id": "new"}])
    assert execute("SELECT position FROM events WHERE event_id = 'new'") == [(EVENTS + 9,)]
    assert copy_in(DESK, lines[-5:]).replayed == 5


def test_a_log_with_other_feedback_is_left_as_it_is(database: str, empty: Callable[[], None]):
    fill_log(database)
    lines = lines_of(DESK)
    empty()
    make_project()
    store(DESK, [OTHERS[0]])

    with pytest.raises(Conflict, match=r"goes up to position 1 and does not have event-1") as refused:
        copy_in(DESK, lines)
    assert refused.value.code == "log_has_other_rows"
    with pytest.raises(Conflict, match=r"first is in the log of desk already, at position 1 and not 601"):
        copy_in(DESK, lines[5:])
    assert execute("SELECT count(*) FROM events") == [(1,)]


def test_what_was_erased_stays_away(database: str, empty: Callable[[], None]):
    fill_log(database)
    lines = lines_of(DESK)
    empty()
    make_project()
    with transaction() as session:
        feedback.keep_away(session, DESK, feedback.actor_sha256(DESK, "bob"))

    receipt = copy_in(DESK, lines)

    assert (receipt.erased, receipt.stored) == (2, len(lines) - 2)
    assert copy_in(DESK, lines).erased == 2
    assert execute("SELECT count(*) FROM events WHERE actor = 'bob'") == [(0,)]


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ({"position": 0}, r"Line 2 is no row of a log: /1/position: .*greater than or equal to 1"),
        ({"received_at": "tomorrow"}, r"/1/received_at"),
        ({"signal": {"kind": "wink"}}, r"/1/signal"),
        ({"position": 1}, r"/1/position: is not after that of the line before"),
    ],
)
def test_a_line_that_is_no_row_is_refused_with_its_field(broken: dict[str, Any], message: str):
    row = {**OTHERS[0], "position": 1, "received_at": "2026-02-03T04:05:06.789012Z"}

    with pytest.raises(Invalid, match=message):
        copying.copied_rows([json.dumps(row).encode(), json.dumps({**row, "position": 2, **broken}).encode()])
