"""Snapshots of builds that had the origin in the manifest: they keep their manifests and hashes."""

import json
import shutil
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow.parquet as pq

from app import artifacts
from app.database import new_id, transaction
from app.snapshots import service as snapshots
from app.snapshots.files.write import write_about
from app.snapshots.redactions import service as redactions
from tests.desk import DESK, make_project
from tests.logged import store
from tests.snapshots.rows.test_snapshots import RULES, thumb


def build(folder: Path) -> snapshots.Built:
    make_project()
    store(DESK, [thumb(number, "up" if number % 2 else "down") for number in range(60)])
    with transaction() as session:
        return snapshots.build(
            session, DESK, RULES, "kto", watermark=60, seed=1, shipped_checkpoint_id=UUID(int=9), folder=folder
        )


def register_as_older(built: snapshots.Built, files: Path, folder: Path) -> tuple[UUID, dict[str, Any]]:
    """Registers the snapshot as an older build would have made it; returns its id and manifest."""
    shutil.copytree(files, folder, ignore=lambda *_: ["origin.json"])
    manifest = {name: value for name, value in built.manifest.items() if name not in ("format", "split_key")}
    manifest |= built.origin
    write_about(manifest, None, folder)
    with transaction() as session:
        return snapshots.register(session, DESK, 60, manifest, folder), manifest


def test_an_older_snapshot_is_staged_as_it_is_and_redacted_into_one_of_its_kind(database, tmp_path):
    built = build(tmp_path / "new")

    erased = pq.read_table(tmp_path / "new" / "train-text.parquet").to_pylist()[0]

    older, manifest = register_as_older(built, tmp_path / "new", tmp_path / "older")

    assert older != built.id
    with transaction() as session:
        assert snapshots.stage(session, older, tmp_path / "staged") == manifest
        redacted = redactions.redact(session, older, [erased["completion_id"]], erasure_id=new_id())
        successor = snapshots.require(session, redacted.successor_id)
    assert (tmp_path / "staged" / "card.md").read_bytes() == (tmp_path / "new" / "card.md").read_bytes()
    assert redacted.rows == 1
    assert "origin.json" not in successor.files
    assert successor.manifest["project"] == DESK
    unknown = successor.manifest["writers"]["unknown"]
    counts = successor.manifest["counts"]["train"]
    assert (unknown["desirable"], unknown["undesirable"]) == (counts["desirable"], counts["undesirable"])
    with artifacts.open_stream(successor.files["manifest.json"]) as file:
        assert json.load(file) == successor.manifest
