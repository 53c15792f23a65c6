"""Snapshots over HTTP."""

import hashlib
from uuid import UUID

import pytest

from app import artifacts
from app.database import new_id, now, transaction
from app.snapshots.tables import SnapshotRedaction
from tests import small_snapshot

PROJECT = {"project": "acme"}


@pytest.fixture
def made(api, tmp_path) -> UUID:
    small_snapshot.write(tmp_path / "snapshot")
    return small_snapshot.register(tmp_path / "snapshot")


def redact(snapshot_id: UUID, successor_id: UUID | None) -> None:
    with transaction() as session:
        session.add(
            SnapshotRedaction(
                snapshot_id=snapshot_id,
                successor_id=successor_id,
                erasure_id=new_id(),
                rows=1,
                shards=["train-text.parquet"],
                redacted_at=now(),
            )
        )


def test_snapshots_are_listed_newest_first_page_by_page_and_shown_with_their_manifest(api, made, tmp_path):
    small_snapshot.write(tmp_path / "another", train=6)
    newer = small_snapshot.register(tmp_path / "another")

    first = api.get("/v1/snapshots", params={**PROJECT, "limit": 1}).json()
    second = api.get("/v1/snapshots", params={**PROJECT, "limit": 1, "cursor": first["next_cursor"]}).json()
    shown = api.get(f"/v1/snapshots/{made}", params=PROJECT).json()

    assert [item["id"] for page in (first, second) for item in page["items"]] == [str(newer), str(made)]
    assert second["next_cursor"] is None
    assert shown["counts"] == {
        "train": {"desirable": 4, "undesirable": 4},
        "holdout": {"desirable": 2, "undesirable": 2},
    }
    assert (shown["policy"]["version"], shown["redacted_at"], shown["successor_id"]) == (1, None, None)
    assert shown["manifest"]["shards"][0]["path"] == "train-text.parquet"
    del shown["manifest"]
    assert shown == second["items"][0]


def test_a_file_is_streamed_as_it_was_stored_and_the_card_is_markdown(api, made):
    files = api.get(f"/v1/snapshots/{made}", params=PROJECT).json()["files"]

    for path, sha256 in files.items():
        answer = api.get(f"/v1/snapshots/{made}/files/{path}", params=PROJECT)
        assert answer.status_code == 200
        assert hashlib.sha256(answer.content).hexdigest() == sha256
        assert answer.headers["ETag"] == f'"{sha256}"'
        assert answer.headers["Content-Length"] == str(len(answer.content))
    card = api.get(f"/v1/snapshots/{made}/card", params=PROJECT)
    assert card.headers["Content-Type"].startswith("text/markdown")
    assert card.text.startswith("# Snapshot of acme")


def test_the_rows_of_a_redacted_snapshot_are_gone_and_its_successor_is_named(api, made, tmp_path):
    small_snapshot.write(tmp_path / "another", train=6)
    successor = small_snapshot.register(tmp_path / "another")
    redact(made, successor)

    shown = api.get(f"/v1/snapshots/{made}", params=PROJECT).json()
    gone = api.get(f"/v1/snapshots/{made}/files/train-text.parquet", params=PROJECT)

    assert shown["redacted_at"] is not None
    assert shown["successor_id"] == str(successor)
    assert gone.status_code == 410
    assert gone.json()["details"] == {"successor_id": str(successor)}
    assert str(successor) in gone.json()["detail"]
    for kept in ("files/manifest.json", "files/card.md", "card"):
        assert api.get(f"/v1/snapshots/{made}/{kept}", params=PROJECT).status_code == 200


def test_a_redacted_snapshot_of_which_no_row_is_left_says_so(api, made):
    redact(made, None)

    gone = api.get(f"/v1/snapshots/{made}/files/train-text.parquet", params=PROJECT)

    assert gone.status_code == 410
    assert "no row of it is left" in gone.json()["detail"]


def test_what_is_not_there_is_a_404_that_says_what_is(api, made):
    missing = api.get(f"/v1/snapshots/{made}/files/nested/%2e%2e/manifest.json", params=PROJECT)
    artifacts.delete(api.get(f"/v1/snapshots/{made}", params=PROJECT).json()["files"]["card.md"])
    lost = api.get(f"/v1/snapshots/{made}/card", params=PROJECT)

    assert missing.status_code == 404
    assert (lost.status_code, lost.json()["code"]) == (404, "artifact_missing")
    other = api.get(f"/v1/snapshots/{made}/files/none.parquet", params=PROJECT).json()
    assert "it has card.md, holdout-chat.parquet" in other["detail"]


def test_unknown_snapshots_other_projects_and_keys_without_feedback_are_turned_away(api, made, key):
    api.post("/v1/projects", json={"project": "other", "base_model": "/models/base"})
    stranger = key("feedback:read", project="other")

    for path in ("", "/card", "/files/manifest.json"):
        assert api.get(f"/v1/snapshots/{new_id()}{path}", params=PROJECT).status_code == 404
        assert api.get(f"/v1/snapshots/{made}{path}", headers=stranger).status_code == 404
        assert api.get(f"/v1/snapshots/{made}{path}", headers=key("runs:read", project="acme")).status_code == 403
    assert api.get("/v1/snapshots", headers=stranger).json()["items"] == []
