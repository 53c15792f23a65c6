"""`thumbwheel snapshot list | show | card | pull`."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest

from app import artifacts
from tests import small_snapshot


@pytest.fixture
def made(cli, tmp_path) -> Callable[..., UUID]:
    """A function: `made("text", later=2)` registers a snapshot of text rows and returns its id.

    It has 8 rows for training, 4 held out and `later` later ones. Its files are in `built`.
    """

    def make(*formats: str, later: int = 0) -> UUID:
        small_snapshot.write(tmp_path / "built", formats or ("text", "chat"), later=later)
        return small_snapshot.register(tmp_path / "built")

    return make


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_snapshots_are_listed_shown_by_their_ending_and_their_card_is_read(cli, made):
    snapshot = str(made())

    assert [item["id"] for item in cli("snapshot", "list").document] == [snapshot]
    shown = cli("snapshot", "show", snapshot[-6:]).document
    assert (shown["id"], len(shown["manifest"]["shards"])) == (snapshot, 4)
    assert cli("snapshot", "show", "latest").document == shown
    assert cli("snapshot", "card", "latest").out.startswith("# Snapshot of acme")


def test_parquet_is_the_files_as_they_are_and_the_same_again_does_nothing(cli, made, tmp_path):
    snapshot = str(made())

    first = cli("snapshot", "pull", "latest", "--to", tmp_path / "pulled")
    again = cli("snapshot", "pull", snapshot, "--to", tmp_path / "pulled")

    assert (first.code, again.code) == (0, 0), first.err + again.err
    assert first.document["rows"] == {"train": 8, "holdout": 4}
    assert (first.document["new"], again.document["new"]) == (True, False)
    assert {path.name: path.read_bytes() for path in (tmp_path / "pulled").iterdir()} == {
        path.name: path.read_bytes() for path in (tmp_path / "built").iterdir()
    }
    assert first.err == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["built", "pulled"]


def test_one_split_alone_is_its_shards_beside_manifest_and_card(cli, made, tmp_path):
    made()

    done = cli("snapshot", "pull", "latest", "--to", tmp_path / "pulled", "--split", "holdout")

    assert done.document["rows"] == {"holdout": 4}
    assert sorted(path.name for path in (tmp_path / "pulled").iterdir()) == [
        "card.md", "holdout-chat.parquet", "holdout-text.parquet", "manifest.json",
    ]  # fmt: skip


def test_rows_held_out_because_they_are_of_late_are_counted_and_pulled_beside_the_others(cli, made, tmp_path):
    import datasets

    made(later=2)

    assert cli("snapshot", "show", "latest").document["counts"]["later"] == {"desirable": 1, "undesirable": 1}
    for form in ("parquet", "jsonl", "datasets"):
        done = cli("snapshot", "pull", "latest", "--to", tmp_path / form, "--format", form)
        assert done.document["rows"] == {"train": 8, "holdout": 4, "later": 2}
    assert (tmp_path / "parquet" / "later-text.parquet").exists()
    assert [row["completion_id"] for row in lines(tmp_path / "jsonl" / "later.jsonl")] == ["c12", "c13"]
    assert len(datasets.load_from_disk(str(tmp_path / "datasets"))["later"]) == 2
    alone = cli("snapshot", "pull", "latest", "--to", tmp_path / "alone", "--split", "later")
    assert alone.document["rows"] == {"later": 2}


def test_a_split_without_rows_is_refused(cli, made, tmp_path):
    made()

    assert "has no rows of later" in cli.refused(
        "snapshot", "pull", "latest", "--to", tmp_path / "pulled", "--split", "later"
    )


@pytest.mark.parametrize("kind", ["text", "chat"])
def test_json_lines_are_the_rows_in_their_order_with_what_we_know_of_them(cli, made, tmp_path, kind):
    made(kind)

    done = cli("snapshot", "pull", "latest", "--to", tmp_path / "pulled", "--format", "jsonl")

    assert done.document["notes"] == []
    assert sorted(path.name for path in (tmp_path / "pulled").iterdir()) == [
        "card.md", "holdout.jsonl", "manifest.json", "train.jsonl",
    ]  # fmt: skip
    rows = lines(tmp_path / "pulled" / "train.jsonl")
    assert [row["completion_id"] for row in rows] == [f"c{number}" for number in range(8)]
    expected = small_snapshot.row(3, 3, chat=kind == "chat")
    del expected["checkpoint_id"]
    assert rows[3] == {**expected, "signal_time": "2026-03-01T03:00:00.000000Z"}


def test_where_there_are_texts_and_chats_all_are_chats_in_the_order_of_both_and_that_is_said(cli, made, tmp_path):
    made("text", "chat")

    done = cli("snapshot", "pull", "latest", "--to", tmp_path / "pulled", "--format", "jsonl")

    assert "each text became a chat" in done.document["notes"][0]
    rows = lines(tmp_path / "pulled" / "train.jsonl")
    assert [row["position"] for row in rows] == list(range(8))
    for number, row in enumerate(rows):
        assert row["prompt"] == [{"role": "user", "content": f"Question {number}?"}]
        assert row["completion"] == [{"role": "assistant", "content": f" Answer {number}."}]


def test_a_folder_of_datasets_opens_with_both_splits_and_every_column(cli, made, tmp_path):
    import datasets

    made("text", "chat")

    done = cli("snapshot", "pull", "latest", "--to", tmp_path / "pulled", "--format", "datasets")
    assert done.code == 0, done.err
    opened = datasets.load_from_disk(str(tmp_path / "pulled"))

    assert {name: len(split) for name, split in opened.items()} == {"train": 8, "holdout": 4}
    assert opened["train"][1] == small_snapshot.row(1, 1, chat=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["built", "pulled"]
    assert not cli("snapshot", "pull", "latest", "--to", tmp_path / "pulled", "--format", "datasets").document["new"]


def test_without_the_package_the_remedy_is_named_before_anything_is_downloaded(cli, made, tmp_path, monkeypatch):
    made()
    monkeypatch.setitem(sys.modules, "datasets", None)

    line = cli.refused("snapshot", "pull", "latest", "--to", tmp_path / "pulled", "--format", "datasets")

    assert "pip install datasets, or pull --format parquet" in line


def test_a_folder_that_holds_something_else_is_left_as_it_is(cli, made, tmp_path):
    made()
    cli("snapshot", "pull", "latest", "--to", tmp_path / "pulled")
    (tmp_path / "pulled" / "train-text.parquet").write_bytes(b"not what was pulled")

    for arguments in (["--format", "parquet"], ["--format", "jsonl"], ["--split", "train"]):
        refused = cli.refused("snapshot", "pull", "latest", "--to", tmp_path / "pulled", *arguments)
        assert "exists already and is not snapshot" in refused
    assert (tmp_path / "pulled" / "train-text.parquet").read_bytes() == b"not what was pulled"


@pytest.mark.parametrize(("form", "found"), [("parquet", b""), ("jsonl", b"another content"), ("datasets", b"")])
def test_a_damaged_shard_leaves_no_folder(cli, client, made, tmp_path, without_pauses, form, found):
    snapshot = client.snapshots.get(made())
    Path(artifacts.path_of(snapshot.files["train-chat.parquet"])).write_bytes(found)

    line = cli.refused("snapshot", "pull", "latest", "--to", tmp_path / "pulled", "--format", form)

    assert "has another content than its name says: restore it from a backup" in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["built"]


def test_a_folder_that_cannot_be_made_is_named(cli, made, tmp_path):
    made()
    (tmp_path / "file").touch()

    assert "cannot be created" in cli.refused("snapshot", "pull", "latest", "--to", tmp_path / "file" / "pulled")


def test_where_there_is_no_snapshot_that_is_said(cli, tmp_path):
    assert "no snapshot yet" in cli.refused("snapshot", "pull", "latest", "--to", tmp_path / "pulled")
    assert cli("snapshot", "list").document == []
