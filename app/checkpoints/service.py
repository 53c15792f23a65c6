"""Registers, lists, stages and opens checkpoints, which are immutable weights."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session
from thumbwheel import wire

from app import artifacts, settings
from app.artifacts import OpenFile
from app.checkpoints import integrity, store
from app.checkpoints.tables import Checkpoint
from app.errors import NotFound
from app.pages import Page, key_of_cursor, page_of
from app.projects import service as projects

#: Files of a checkpoint that are not needed to load its model.
CARD, MANIFEST = "README.md", "manifest.json"


@dataclass(frozen=True)
class Chain:
    """The layers of a checkpoint: the base model of its line, trained weights, an adapter."""

    base_model: Path
    weights: Checkpoint | None
    adapter: Checkpoint | None


@dataclass(frozen=True)
class Staged:
    """A checkpoint as folders. A fingerprint is None if it has not been computed yet."""

    base_model: Path
    base_fingerprint: str | None
    adapter: Path | None
    adapter_fingerprint: str | None
    ancestor: Path  # the base model that its line begins with


def register_base(session: Session, project: str) -> Checkpoint:
    """Returns the row that stands for the project's base model, inserted unless the project had this base model before.

    The caller has inserted the project or holds its lock.
    """
    base_model = projects.get(session, project).base_model
    return store.base(session, project, base_model) or store.insert_checkpoint(
        session,
        {
            "project_id": project,
            "kind": "base",
            "base_model": base_model,
            "verdict": "base",
            "reasons": [],
            "files": {},
            "scores": {},
            "manifest": {},
        },
    )


def register(
    session: Session,
    *,
    project: str,
    run_id: UUID,
    snapshot_id: UUID,
    reference_id: UUID,
    weights_sha256: str,
    reasons: list[str],
    files: Mapping[str, str],
    manifest: Mapping[str, Any],
) -> Checkpoint:
    """Inserts a checkpoint of the kind and with the scores of `manifest`. Its files must be in the artifact store.

    reasons  the reasons of the gates, empty if they passed

    Raises `NotFound` if the reference is no checkpoint of the project.
    """
    reference = _require(session, project, reference_id)
    stands_on = reference.stands_on_id if reference.kind == "adapter" else reference.id
    return store.insert_checkpoint(
        session,
        {
            "project_id": project,
            "kind": manifest["kind"],
            "base_model": reference.base_model,
            "run_id": run_id,
            "parent_id": reference.id,
            "stands_on_id": stands_on if manifest["kind"] == "adapter" else None,
            "snapshot_id": snapshot_id,
            "verdict": "failed" if reasons else "passed",
            "reasons": reasons,
            "weights_sha256": weights_sha256,
            "files": dict(files),
            "scores": manifest["scores"],
            "manifest": dict(manifest),
        },
    )


def get(session: Session, project: str, checkpoint_id: UUID) -> wire.Checkpoint:
    """Returns the checkpoint. Raises `NotFound`."""
    return _shown(_require(session, project, checkpoint_id), store.live_id(session, project))


def of_ids(session: Session, project: str, checkpoint_ids: Iterable[UUID]) -> dict[UUID, wire.Checkpoint]:
    """Returns those of the checkpoints that the project has, by their ids."""
    live = store.live_id(session, project)
    return {row.id: _shown(row, live) for row in store.of_ids(session, project, checkpoint_ids)}


def page(session: Session, project: str, *, cursor: str | None, limit: int) -> Page[wire.Checkpoint]:
    """Returns the project's checkpoints, newest first; the oldest is its first base model."""
    rows = store.newest_first(session, project, key_of_cursor(cursor, UUID), limit + 1)
    live = store.live_id(session, project)
    return page_of(rows, limit, lambda row: str(row.id), lambda row: _shown(row, live))


def open_file(session: Session, project: str, checkpoint_id: UUID, path: str) -> OpenFile:
    """Opens a file of the checkpoint. Raises `NotFound`, `Unavailable`."""
    row = _require(session, project, checkpoint_id)
    sha256 = row.files.get(path)
    if sha256 is None:
        listing = f"it has {', '.join(sorted(row.files))}" if row.files else "it is the project's base model"
        raise NotFound(f"Checkpoint {checkpoint_id} has no file {path!r}: {listing}.", code="file_not_found")
    return artifacts.open_verified(sha256)


def chain(session: Session, project: str, checkpoint_id: UUID) -> Chain:
    """Returns the layers of the checkpoint, for `stage`. Raises `NotFound`."""
    top = _require(session, project, checkpoint_id)
    adapter = top if top.kind == "adapter" else None
    below = top
    if adapter is not None:
        assert adapter.stands_on_id is not None
        below = _require(session, project, adapter.stands_on_id)
    return Chain(Path(top.base_model), below if below.kind == "weights" else None, adapter)


def require_whole(session: Session, project: str, checkpoint_id: UUID) -> None:
    """Raises `Refused` (weights_damaged) if a file of the checkpoint, or of the weights under its adapter, is damaged
    or missing; `Unavailable` while that is being verified; `NotFound`.
    """
    parts = chain(session, project, checkpoint_id)
    for row in (parts.weights, parts.adapter):
        if row is not None:
            integrity.require_whole(f"Checkpoint {row.id}", row.files)


def stage(parts: Chain, folder: Path) -> Staged:
    """Fetches the files of `parts` to this machine and verifies them; the adapter goes into `folder`.

    Weights are stored next to the runs' working folders, once per checkpoint. Raises `NotFound` or `DamagedArtifact` if
    a file is missing or damaged in the artifact store.
    """
    base_model, base_fingerprint = parts.base_model, None
    if parts.weights is not None:
        base_model = settings.current().work_dir / "weights" / str(parts.weights.id)
        base_fingerprint = parts.weights.weights_sha256
        _fetch(parts.weights, base_model)
    if parts.adapter is None:
        return Staged(base_model, base_fingerprint, None, None, parts.base_model)
    _fetch(parts.adapter, folder)
    trained_on = parts.adapter.manifest["training"]["base_fingerprint"]
    return Staged(base_model, trained_on, folder, parts.adapter.weights_sha256, parts.base_model)


def _fetch(row: Checkpoint, folder: Path) -> None:
    for path, sha256 in row.files.items():
        # A fetched file is complete, and the trainer verifies the weights.
        if path not in (CARD, MANIFEST) and not (folder / path).exists():
            artifacts.fetch(sha256, folder / path)


def _require(session: Session, project: str, checkpoint_id: UUID) -> Checkpoint:
    row = store.of_id(session, project, checkpoint_id)
    if row is None:
        raise NotFound(f"Project {project} has no checkpoint {checkpoint_id}.", code="checkpoint_not_found")
    return row


def _shown(row: Checkpoint, live: UUID | None) -> wire.Checkpoint:
    return wire.Checkpoint.model_validate(
        {
            **{name: getattr(row, name) for name in wire.Checkpoint.model_fields if name not in ("project", "live")},
            "project": row.project_id,
            "live": row.id == live,
        }
    )
