"""Registers, lists, stages and opens checkpoints, which are immutable weights."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session
from thumbwheel import wire

from app import artifacts, settings
from app.artifacts import OpenFile
from app.checkpoints import few_shots, held_out_scores, integrity, probe_file, store
from app.checkpoints.card import card_of_overrides
from app.checkpoints.tables import Checkpoint
from app.errors import NotFound
from app.pages import Page, key_of_cursor, page_of
from app.projects import service as projects
from app.suites.outcomes_file import OUTCOMES
from app.webhooks import service as webhooks

#: Files of a checkpoint that are not needed to load its model.
CARD, MANIFEST, SAMPLES = "README.md", "manifest.json", "samples.parquet"
#: The trainer's record of what the weights were trained from.
ORIGIN = "origin.json"
#: Figures of the scorer, which neither a run nor a server reads.
FIGURES = (OUTCOMES, held_out_scores.FILE, few_shots.SCORES, few_shots.REPLIES, probe_file.FILE)
UNSTAGED = frozenset({CARD, MANIFEST, *FIGURES})
#: Files about a model, which no server loads.
RECORDS = frozenset({CARD, MANIFEST, SAMPLES, ORIGIN, *FIGURES})
#: Files that hold texts of users if there are samples: an erasure replaces them.
TEXTS = (CARD, SAMPLES)
#: Reasons of a verdict that a webhook quotes; the checkpoint has all of them.
MOST_REASONS = 20


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


def register_base(session: Session, project: str, base_model: str | None = None) -> Checkpoint:
    """Returns the row that stands for a base model, inserted unless the project has it. `base_model`: its folder; None
    for the project's own.

    The caller has inserted the project or holds its lock.
    """
    base_model = base_model or projects.get(session, project).base_model
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
    files: Mapping[str, str],
    manifest: Mapping[str, Any],
) -> Checkpoint:
    """Inserts a checkpoint of the kind, and with the verdict, its reasons and the scores, of `manifest`. Its files must
    be in the artifact store.

    Raises `NotFound` if the reference is no checkpoint of the project.
    """
    reference = _require(session, project, reference_id)
    texts = {path: files[path] for path in TEXTS if path in files} if SAMPLES in files else {}
    stands_on = reference.stands_on_id if reference.kind == "adapter" else reference.id
    row = store.insert_checkpoint(
        session,
        {
            "project_id": project,
            "kind": manifest["kind"],
            "base_model": reference.base_model,
            "run_id": run_id,
            "parent_id": reference.id,
            "stands_on_id": stands_on if manifest["kind"] == "adapter" else None,
            "snapshot_id": snapshot_id,
            "verdict": manifest["verdict"],
            "reasons": manifest["reasons"],
            "weights_sha256": weights_sha256,
            "files": {path: sha256 for path, sha256 in files.items() if path not in texts},
            "scores": manifest["scores"],
            "manifest": dict(manifest),
        },
    )
    if texts:
        store.insert_texts(session, row.id, texts)
    _publish(session, row)
    return row


def get(session: Session, project: str, checkpoint_id: UUID) -> wire.Checkpoint:
    """Returns the checkpoint. Raises `NotFound`."""
    [checkpoint] = _all_shown(session, project, [_require(session, project, checkpoint_id)])
    return checkpoint


def of_ids(session: Session, project: str, checkpoint_ids: Iterable[UUID]) -> dict[UUID, wire.Checkpoint]:
    """Returns those of the checkpoints that the project has, by their ids."""
    rows = store.of_ids(session, project, checkpoint_ids)
    return {checkpoint.id: checkpoint for checkpoint in _all_shown(session, project, rows)}


def page(session: Session, project: str, *, cursor: str | None, limit: int) -> Page[wire.Checkpoint]:
    """Returns the project's checkpoints, newest first; the oldest is its first base model."""
    rows = store.newest_first(session, project, key_of_cursor(cursor, UUID), limit + 1)
    shown = {checkpoint.id: checkpoint for checkpoint in _all_shown(session, project, rows)}
    return page_of(rows, limit, lambda row: str(row.id), lambda row: shown[row.id])


def on_snapshots(session: Session, snapshot_ids: Collection[UUID]) -> Sequence[Checkpoint]:
    """Returns the checkpoints that were trained on these snapshots."""
    return store.on_snapshots(session, snapshot_ids)


def texts_of(session: Session, checkpoint_ids: Collection[UUID]) -> dict[UUID, dict[str, str]]:
    """Returns the files with texts of users (path → sha256) of those checkpoints that have any."""
    return store.texts_of(session, checkpoint_ids)


def replace_texts(session: Session, checkpoint_id: UUID, files: Mapping[str, str]) -> list[str]:
    """Records other files with texts of users; returns the hashes of the earlier ones that no checkpoint names now."""
    before = store.texts_of(session, [checkpoint_id])[checkpoint_id]
    store.replace_texts(session, checkpoint_id, files)
    return sorted(set(before.values()) - store.named_texts(session, before.values()))


def open_file(session: Session, project: str, checkpoint_id: UUID, path: str) -> OpenFile:
    """Opens a file of the checkpoint. Raises `NotFound`, `Unavailable`."""
    row = _require(session, project, checkpoint_id)
    files = _files(row, store.texts_of(session, [row.id]))
    sha256 = files.get(path)
    if sha256 is None:
        listing = f"it has {', '.join(sorted(files))}" if files else "it is the project's base model"
        raise NotFound(f"Checkpoint {checkpoint_id} has no file {path!r}: {listing}.", code="file_not_found")
    return artifacts.open_verified(sha256)


def card(session: Session, project: str, checkpoint_id: UUID) -> str:
    """Returns the stored card of the checkpoint, followed by the overrides in the ledger. Raises `NotFound`,
    `Unavailable`.
    """
    file = open_file(session, project, checkpoint_id, CARD)
    try:
        text = b"".join(file.chunks()).decode()
    finally:
        file.close()
    return text + card_of_overrides(get(session, project, checkpoint_id).overrides)


def chain(session: Session, project: str, checkpoint_id: UUID) -> Chain:
    """Returns the layers of the checkpoint, for `stage`. Raises `NotFound`."""
    top = _require(session, project, checkpoint_id)
    adapter = top if top.kind == "adapter" else None
    below = top
    if adapter is not None:
        assert adapter.stands_on_id is not None
        below = _require(session, project, adapter.stands_on_id)
    return Chain(Path(top.base_model), below if below.kind == "weights" else None, adapter)


def model_files(row: Checkpoint) -> dict[str, str]:
    """Returns the files (path → sha256) that a server loads."""
    return {path: sha256 for path, sha256 in row.files.items() if path not in RECORDS}


def probe_of(session: Session, project: str, checkpoint_id: UUID) -> tuple[str, bool] | None:
    """Returns the SHA-256 of the probe.json that describes the checkpoint, and whether it does so as the base of an
    adapter. None if there is none, as for checkpoints that are older than probes. Raises `NotFound`.
    """
    row = _require(session, project, checkpoint_id)
    if probe_file.FILE in row.files:
        return row.files[probe_file.FILE], False
    upon = store.adapter_upon(session, row.id, probe_file.FILE)
    return None if upon is None else (upon.files[probe_file.FILE], True)


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
        if path not in UNSTAGED and not (folder / path).exists():
            artifacts.fetch(sha256, folder / path)


def _publish(session: Session, row: Checkpoint) -> None:
    """Publishes the registration, and the verdict of the gates."""
    known = {"project": row.project_id, "checkpoint_id": row.id, "run_id": row.run_id, "verdict": row.verdict}
    known["url"] = webhooks.link(row.project_id, f"/v1/checkpoints/{row.id}")
    registered = wire.CheckpointWebhookData.model_validate({**known, "kind": row.kind})
    webhooks.publish(session, row.project_id, "checkpoint.registered", registered)
    gates = row.manifest.get("gates") or {}
    decided = {"reasons": row.reasons[:MOST_REASONS], "gates_version": gates.get("version")}
    verdict = wire.GateWebhookData.model_validate({**known, **decided})
    webhooks.publish(session, row.project_id, f"gate.{row.verdict}", verdict)


def _require(session: Session, project: str, checkpoint_id: UUID) -> Checkpoint:
    row = store.of_id(session, project, checkpoint_id)
    if row is None:
        raise NotFound(f"Project {project} has no checkpoint {checkpoint_id}.", code="checkpoint_not_found")
    return row


def _files(row: Checkpoint, texts: Mapping[UUID, Mapping[str, str]]) -> dict[str, str]:
    return {**row.files, **texts.get(row.id, {})}


def _all_shown(session: Session, project: str, rows: Sequence[Checkpoint]) -> list[wire.Checkpoint]:
    ids = [row.id for row in rows]
    texts, overrides = store.texts_of(session, ids), store.overrides(session, project, ids)
    live = store.live_id(session, project)
    return [_shown(row, texts, live, overrides[row.id]) for row in rows]


def _shown(
    row: Checkpoint, texts: Mapping[UUID, Mapping[str, str]], live: UUID | None, overrides: Sequence[wire.Override]
) -> wire.Checkpoint:
    derived = {"project", "live", "gates", "decision", "overrides", "files"}
    gates = row.manifest.get("gates") or {}
    return wire.Checkpoint.model_validate(
        {
            **{name: getattr(row, name) for name in wire.Checkpoint.model_fields if name not in derived},
            "project": row.project_id,
            "files": _files(row, texts),
            "live": row.id == live,
            "gates": gates | {"name": gates["document"]["name"]} if "document" in gates else None,
            "decision": row.manifest.get("decision") or [],
            "overrides": overrides,
        }
    )
