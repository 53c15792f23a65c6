"""Reads what a target should serve: a checkpoint with its layers, its files and its probe."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from pydantic import ValidationError

from app import artifacts
from app.artifacts import OpenFile
from app.checkpoints import service as checkpoints
from app.checkpoints.probe_file import Probe
from app.checkpoints.service import Chain, model_files
from app.database import transaction
from app.serving.leases.target_lease import ClaimedTarget
from app.serving.refusals import reason_against_weights, reason_to_leave_out, reasons_against_adapter
from app.serving.served_artifact import ADAPTER_FILES, LayerFiles, Role, ServedArtifact, artifact_of, published_files

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DesiredModel:
    """A checkpoint of the ledger as a target loads it, for all actors or for those of a canary.

    files     path → SHA-256 of the folder; none for a base model, and for an adapter that has to be merged
    refusals  why the target would refuse it
    left_out  why the target does not load it beside the live checkpoint, if it is a canary's
    """

    role: Role
    checkpoint_id: UUID
    artifact: ServedArtifact
    layers: Chain
    files: Mapping[str, str]
    probe: Probe | None
    refusals: list[str]
    left_out: str | None


def desired_of(claimed: ClaimedTarget, role: Role) -> DesiredModel:
    """Returns the checkpoint of the role as the target loads it. Raises `NotFound` and `Unavailable` of the artifact
    store.
    """
    checkpoint_id = claimed.desired[role]
    with transaction(read_only=True) as session:
        layers = checkpoints.chain(session, claimed.project, checkpoint_id)
        probe = checkpoints.probe_of(session, claimed.project, checkpoint_id)
    top = layers.adapter or layers.weights
    files = LayerFiles(
        base_model=str(layers.base_model),
        weights=None if layers.weights is None else model_files(layers.weights),
        adapter=None if layers.adapter is None else model_files(layers.adapter),
        base=str(top.manifest.get("training", {}).get("base_fingerprint", "")) if top is not None else "",
    )
    artifact = artifact_of(claimed.project, files, claimed.settings)
    return DesiredModel(
        role,
        checkpoint_id,
        artifact,
        layers,
        published_files(artifact, files),
        _probe(probe),
        _refusals(claimed, artifact, files),
        reason_to_leave_out(claimed.settings, artifact.kind) if role == "canary" else None,
    )


def _refusals(claimed: ClaimedTarget, artifact: ServedArtifact, files: LayerFiles) -> list[str]:
    if artifact.kind == "weights":
        reason = reason_against_weights(claimed.settings)
        return [] if reason is None else [reason]
    config = (files.adapter or {}).get(ADAPTER_FILES[0])
    if artifact.kind != "adapter" or config is None:
        return []
    try:
        content = json.loads(_content(artifacts.open_verified(config)))
    except ValueError:
        return [f"its {ADAPTER_FILES[0]} is not valid JSON"]
    return reasons_against_adapter(content, claimed.settings)


def _probe(stored: tuple[str, bool] | None) -> Probe | None:
    """Returns the probe in a stored file, that of the base of an adapter if it is one; None if it cannot be read."""
    if stored is None:
        return None
    sha256, as_base = stored
    try:
        probe = Probe.model_validate_json(_content(artifacts.open_verified(sha256)))
    except ValidationError as error:
        log.warning("the probe %s is not valid: %s", sha256, error)
        return None
    return probe.of_base() if as_base else probe


def _content(file: OpenFile) -> bytes:
    try:
        return b"".join(file.chunks())
    finally:
        file.close()
