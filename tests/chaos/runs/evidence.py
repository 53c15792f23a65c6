"""The evidence for the verdict, read when everything has ended: rows of runs and checkpoints, and stored files."""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from app import artifacts, settings
from app.checkpoints.service import MANIFEST
from app.database import transaction
from app.durable import sha256_of
from tests.chaos.runs.verdict import Checkpoint, Row, Transition


def rows() -> dict[UUID, Row]:
    """Returns every run by id, with its history, oldest transition first."""
    with transaction() as session:
        history_of: dict[UUID, list[Transition]] = defaultdict(list)
        for move in _all(session, 'SELECT run_id, kind, "by", to_state, reason FROM run_transitions ORDER BY id'):
            history_of[move.pop("run_id")].append(Transition(**move))
        query = (
            "SELECT id, project_id AS project, state, reason, snapshot_id, checkpoint_id, lease_owner AS owner, "
            "lease_epoch AS epoch, lost, "
            "ARRAY(SELECT step FROM run_metrics WHERE run_id = runs.id ORDER BY step) AS steps FROM runs"
        )
        return {row["id"]: Row(**row, history=history_of[row["id"]]) for row in _all(session, query)}


def checkpoints() -> list[Checkpoint]:
    """Returns the checkpoints that runs registered."""
    with transaction() as session:
        query = "SELECT id, run_id, weights_sha256, files FROM checkpoints WHERE kind <> 'base'"
        return [Checkpoint(**row) for row in _all(session, query)]


def damaged(registered: list[Checkpoint]) -> list[str]:
    """Returns a sentence for each stored file whose hash differs from its name, and for each checkpoint of `registered`
    with missing files or contradicting hashes.
    """
    wrong = [
        f"{path} in the artifact store has another content than its name says"
        for path in sorted(Path(settings.current().artifacts, "sha256").glob("*/*"))
        if sha256_of(path) != path.name
    ]
    for checkpoint in registered:
        missing = [name for name, digest in checkpoint.files.items() if not Path(artifacts.path_of(digest)).is_file()]
        if missing:
            wrong.append(f"checkpoint {checkpoint.id}: {', '.join(missing)} not in the artifact store")
            continue
        manifest = json.loads(Path(artifacts.path_of(checkpoint.files[MANIFEST])).read_bytes())
        hashes = {checkpoint.weights_sha256, manifest["weights_sha256"], checkpoint.files["model.safetensors"]}
        if len(hashes) > 1:
            wrong.append(f"checkpoint {checkpoint.id}: row, manifest and file of its weights differ")
    return wrong


def _all(session: Session, query: str) -> list[dict[str, Any]]:
    return [dict(row) for row in session.execute(text(query)).mappings()]
