"""`thumbwheel export`, and `thumbwheel import` of what it wrote."""

import json
from pathlib import Path
from typing import Any

import pytest
from thumbwheel import ApiError, Client, Unreachable, wire
from thumbwheel.client.log_copies import LogCopies

from app.cli.exports import copy_in
from app.database import transaction
from app.feedback.copying import service as copying
from app.privacy.erasures import service as erasures
from app.projects import service as projects
from app.releases import service as releases
from app.snapshots import service as snapshots
from tests.cli.conftest import CommandLine, on_a_screen
from tests.desk import execute
from tests.feedback.rows.test_copying import OTHERS
from tests.logged import register, store

LOG = ("events", "completions", "labels")


@pytest.fixture
def filled(cli: CommandLine, client: Client) -> Client:
    """A client of `acme`, which has a log with feedback of every kind, and settings that decide about its labels."""
    votes = [
        {"event_id": f"v{number}", "completion_id": f"c{number}", "actor": f"user {number % 4}", "prompt": "Q?",
         "completion": f"{number}.", "signal": {"kind": "thumbs", "value": "up" if number % 3 else "down"}}
        for number in range(30)
    ]  # fmt: skip
    store("acme", [*votes, *OTHERS[:4]])
    register("acme", "x5", {"prompt": "I?", "completion": "J.", "token_ids": [1, 2], "log_probs": [-0.1, -2.5]})
    store("acme", OTHERS[4:])
    client.quarantine.decide(wire.NewQuarantineDecision(actor="user 1", decision="confirmed", reason="a bot"))
    policy = client.label_policies.adopted().policy
    stored = client.label_policies.create(policy.model_copy(update={"name": "ours"}))
    client.label_policies.adopt(stored.version)
    return client


def new_project(client: Client, name: str) -> None:
    client.projects.create(wire.NewProject(project=name, base_model="/models/base", suites=[]))


def hashes(folder: Path) -> dict[str, str]:
    files = json.loads((folder / "manifest.json").read_bytes())["files"]
    return {name: file["sha256"] for name, file in files.items() if name.partition(".")[0] in LOG}


def snapshot_files(project: str, folder: Path) -> dict[str, str]:
    """Returns the hashes of the files of a new snapshot. That of the manifest is the snapshot's."""
    with transaction() as session:
        live = releases.current(session, project).checkpoint_id
        return snapshots.build(
            session, project, wire.SnapshotRules(minimum_per_class=1), "kto", watermark=38, seed=1,
            shipped_checkpoint_id=live, folder=folder,
        ).files  # fmt: skip


def decided(client: Client) -> list[Any]:
    return [(each.actor, each.decision, each.reason) for each in client.quarantine.decisions()]


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_an_export_goes_into_a_new_project_which_then_has_the_same_log_and_labels(cli, filled, tmp_path, form):
    exported = cli("export", tmp_path / "first", "--format", form)
    assert exported.code == 0, exported.err
    rows = {name: file["rows"] for name, file in exported.document["files"].items() if "rows" in file}
    new_project(filled, "other")

    done = cli("import", tmp_path / "first", "--settings", "--project", "other")
    again = cli("import", tmp_path / "first", "--settings", "--project", "other")
    second = cli("export", tmp_path / "second", "--format", form, "--project", "other")

    assert rows == {f"events.{form}": 37, f"completions.{form}": 1, f"labels.{form}": 36, "snapshots.jsonl": 0,
                    "runs.jsonl": 0, "ledger.jsonl": 1, "erasures.jsonl": 0}  # fmt: skip
    assert (done.code, done.document["stored"], done.document["replayed"]) == (0, 38, 0), done.err
    assert (again.document["stored"], again.document["replayed"]) == (0, 38)
    assert second.code == 0, second.err
    assert hashes(tmp_path / "second") == hashes(tmp_path / "first")
    with Client(filled.url, cli.environment["THUMBWHEEL_API_KEY"], "other") as other:
        assert other.label_policies.adopted().policy.name == "ours"
        assert other.gates.adopted().document.name == "one rule"
        assert decided(other) == decided(filled)
        assert other.projects.get().snapshot == filled.projects.get().snapshot
        assert other.projects.get().split_key == "acme"
    first, copy = (snapshot_files(project, tmp_path / project) for project in ("acme", "other"))
    assert {name for name in first if copy[name] != first[name]} == {"origin.json", "card.md"}


def test_decisions_on_actors_whose_feedback_has_expired_are_left_out_of_the_restored_ones(cli, filled, tmp_path):
    store("acme", [{**OTHERS[0], "event_id": "expired", "actor": "gone"}])
    for actor in ("gone", "user 2"):
        filled.quarantine.decide(wire.NewQuarantineDecision(actor=actor, decision="confirmed", reason="a bot"))
    execute("DELETE FROM events WHERE actor = 'gone'")
    assert cli("export", tmp_path / "out").code == 0
    new_project(filled, "other")

    done = cli("import", tmp_path / "out", "--settings", "--project", "other")
    again = cli("import", tmp_path / "out", "--settings", "--project", "other")

    assert (done.code, again.code) == (0, 0), done.err
    with Client(filled.url, cli.environment["THUMBWHEEL_API_KEY"], "other") as other:
        assert [actor for actor, *_ in decided(other)] == ["user 2", "user 1"]


def test_events_and_labels_are_readable_lines(cli, filled, tmp_path):
    assert cli("export", tmp_path / "out", "--only", "events,labels,ledger").code == 0

    events = [json.loads(line) for line in (tmp_path / "out" / "events.jsonl").read_text().splitlines()]
    given = [json.loads(line) for line in (tmp_path / "out" / "labels.jsonl").read_text().splitlines()]
    labels = {label["completion_id"]: label for label in given}
    listed = {event.event_id: event for event in filled.events.list()}
    for event in events:
        shown = wire.StoredEvent.model_validate({**event, "occurred_at": event["occurred_at"] or event["received_at"]})
        assert shown == listed[event["event_id"]]
    assert labels["c1"] == {
        "completion_id": "c1", "checkpoint_id": None, "label": None, "weight": 0.0, "reason": "quarantined",
        "reasons": ["quarantined"], "never_train": False, "has_text": True,
    }  # fmt: skip
    assert (labels["c2"]["label"], labels["c2"]["reason"]) == (True, "thumbs_up")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "events.jsonl", "labels.jsonl", "ledger.jsonl", "erasures.jsonl", "project.json", "manifest.json",
    }  # fmt: skip


def test_an_interrupted_export_goes_on_where_it_ended_and_stays_at_its_watermark(cli, filled, tmp_path, monkeypatch):
    cli("export", tmp_path / "whole", "--only", "events,completions,labels")
    monkeypatch.setattr(copying, "PAGE_ROWS", 10)
    page, asked = LogCopies.page, []

    def breaks(log: LogCopies, kind: wire.LogKind, *, after: int, until: int) -> bytes:
        asked.append(after)
        if len(asked) == 3:
            raise Unreachable("here", OSError("away"))
        return page(log, kind, after=after, until=until)

    monkeypatch.setattr(LogCopies, "page", breaks)
    command = ("export", tmp_path / "out", "--only", "events,completions,labels")
    assert "does not answer" in cli.refused(*command)
    with (tmp_path / "out" / "events.jsonl.partial").open("ab") as file:
        file.write(b'{"event_id": "half a li')
    store("acme", [{**OTHERS[0], "event_id": "later"}])
    assert "unfinished export" in cli.refused("import", tmp_path / "out")
    assert "unfinished export of acme as jsonl" in cli.refused(*command, "--format", "parquet")

    done = cli(*command)

    assert done.code == 0, done.err
    assert asked[:4] == [0, 10, 20, 20]
    assert hashes(tmp_path / "out") == hashes(tmp_path / "whole")
    assert "complete export already" in cli.refused(*command)


def test_after_an_erasure_an_unfinished_export_is_refused(cli, filled, tmp_path, monkeypatch):
    def breaks(*_: Any, **__: Any) -> bytes:
        raise Unreachable("here", OSError("away"))

    with monkeypatch.context() as patch:
        patch.setattr(LogCopies, "page", breaks)
        cli.refused("export", tmp_path / "out")
    with transaction() as session:
        projects.count_erasure(session, "acme")

    assert "Feedback was erased from acme, or expired" in cli.refused("export", tmp_path / "out")


def test_an_erased_actor_stays_away_from_the_new_project_too(cli, filled, tmp_path):
    begun = filled.erasures.start("user 2")
    for _ in erasures.STEPS:
        erasures.advance(begun.id)
    cli("export", tmp_path / "out")
    new_project(filled, "other")
    vote = {"completion_id": "c2", "signal": wire.Thumbs(value="down")}

    dry = cli("import", tmp_path / "out", "--project", "other", "--dry-run")
    done = cli("import", tmp_path / "out", "--project", "other")

    assert (dry.document["erasures"], done.document["erasures"]) == (1, 1), done.err
    with Client(filled.url, cli.environment["THUMBWHEEL_API_KEY"], "other") as other:
        with pytest.raises(ApiError, match="was erased"):
            other.events.record(wire.Event(event_id="back", actor="user 2", **vote))
        other.events.record(wire.Event(event_id="another", actor="user 3", **vote))
        [erasure] = other.erasures.list()
        assert (erasure.state, erasure.tombstone, erasure.hashed_for) == ("done", True, "acme")
        assert erasure.actor_sha256 == begun.actor_sha256
        assert other.erasures.get(erasure.id).certificate.events == 0
        cli("export", tmp_path / "again", "--project", "other")
        other.erasures.lift_tombstone(erasure.id)
        cli("import", tmp_path / "out", "--project", "other")
        other.events.record(wire.Event(event_id="back", actor="user 2", **vote))
    lists = [(tmp_path / name / "erasures.jsonl").read_bytes() for name in ("out", "again")]
    assert lists[0] == lists[1]


def test_an_interrupted_import_goes_on_where_it_ended(cli, filled, tmp_path, monkeypatch):
    cli("export", tmp_path / "out")
    new_project(filled, "other")
    monkeypatch.setattr(copy_in, "BATCH_ROWS", 8)
    sends, sent = LogCopies.copy_in, []

    def breaks(log: LogCopies, lines: bytes) -> wire.CopyReceipt:
        sent.append(lines)
        if len(sent) == 3:
            raise Unreachable("here", OSError("away"))
        return sends(log, lines)

    monkeypatch.setattr(LogCopies, "copy_in", breaks)
    assert "does not answer" in cli.refused("import", tmp_path / "out", "--project", "other")

    done = cli("import", tmp_path / "out", "--project", "other")

    assert (done.document["stored"], done.document["replayed"]) == (22, 16), done.err


def test_a_damaged_file_is_named_and_nothing_is_imported(cli, filled, tmp_path):
    cli("export", tmp_path / "out")
    new_project(filled, "other")
    path = tmp_path / "out" / "completions.jsonl"
    path.write_bytes(path.read_bytes().replace(b"J.", b"K."))

    line = cli.refused("import", tmp_path / "out", "--project", "other")

    assert f"{path} is damaged" in line
    path.unlink()
    assert f"Cannot read {path}" in cli.refused("import", tmp_path / "out", "--project", "other")
    (tmp_path / "out" / "manifest.json").write_text("{}")
    assert "manifest.json is no manifest" in cli.refused("import", tmp_path / "out", "--project", "other")
    with Client(filled.url, cli.environment["THUMBWHEEL_API_KEY"], "other") as other:
        assert not list(other.events.list())


def test_a_project_with_other_feedback_and_a_key_without_rights_are_refused(cli, filled, tmp_path):
    cli("export", tmp_path / "out")
    new_project(filled, "other")
    store("other", [{**OTHERS[0], "event_id": "own", "completion_id": f"y{number}"} for number in range(1)])
    reader = filled.keys.create(wire.NewKey(name="reader", scopes=["feedback:read", "runs:read"]))

    assert "has other feedback" in cli.refused("import", tmp_path / "out", "--project", "other")
    assert "needs the scope admin" in cli.refused("import", tmp_path / "out", THUMBWHEEL_API_KEY=reader.secret)
    assert cli("export", tmp_path / "read", THUMBWHEEL_API_KEY=reader.secret).code == 0
    assert "--only: 'votes' is none of events" in cli.refused("export", tmp_path / "x", "--only", "votes")
    assert "--settings needs" in cli.refused("import", tmp_path / "out" / "events.jsonl", "--settings")


def test_a_row_that_the_server_refuses_is_named_by_its_position(cli, filled, tmp_path, monkeypatch):
    cli("export", tmp_path / "out", "--only", "events,completions")
    new_project(filled, "other")
    monkeypatch.setattr(copy_in, "BATCH_ROWS", 10)
    monkeypatch.setattr(copy_in, "require_whole", lambda folder, _, name: folder / name)
    path = tmp_path / "out" / "events.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"user 3"', b'""', 1))

    line = cli.refused("import", tmp_path / "out", "--project", "other")

    assert "at positions 1 to 10, in their order: Line 4 is no row of a log: /3/actor" in line


def test_the_tables_name_what_was_written_and_stored(cli, filled, tmp_path):
    shown = on_a_screen(cli, "export", tmp_path / "out")
    assert "events.jsonl" in shown
    assert "37" in shown

    assert "would be stored" in on_a_screen(cli, "import", tmp_path / "out", "--dry-run")
