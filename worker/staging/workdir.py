"""Fills WORKDIR, the folder of an attempt, before its trainer starts (docs/workdir.md describes its content)."""

import json
from pathlib import Path
from uuid import UUID

from thumbwheel.wire.recipe import Recipe
from thumbwheel.wire.recipe_resolution import resolve

from app.database import transaction
from app.runs.leases import service as leases
from app.runs.leases.service import Claimed
from app.runs.states import TransitionKind
from app.snapshots import service as snapshots
from app.snapshots.prompts import service as prompts
from app.suites.versions import service as suites
from worker.staging import input_checks
from worker.staging.attempt_folders import STAGED, drop_earlier
from worker.staging.inherit_state import continue_attempt, take_over
from worker.training.files.sealed import seal_of, write_seal, write_sealed


def stage(claimed: Claimed, workdir: Path) -> UUID:
    """Fills `workdir`, the folder of this attempt, and returns the snapshot's id.

    It continues an earlier attempt on this machine, if there was one. job.json is written last, and then the folders of
    earlier attempts are removed. Raises `Failed` if files show that the run cannot be trained, before anything else is
    done; `Refused` if the feedback does not make a snapshot; `StaleLease`; and errors of the artifact store.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    job = continue_attempt(workdir) if claimed.snapshot_id is not None else None
    if job is None:
        snapshot_id, job = _stage_first(claimed, workdir)
    else:
        assert claimed.snapshot_id is not None
        snapshot_id = claimed.snapshot_id
    # While the lease holds, nobody removes the files that are taken over, so everything has arrived.
    with transaction() as session:
        leases.renew(session, claimed.lease)
    write_sealed(workdir / STAGED, job)
    drop_earlier(workdir)
    return snapshot_id


def _stage_first(claimed: Claimed, workdir: Path) -> tuple[UUID, bytes]:
    """Fills `workdir` except for job.json; returns the snapshot's id and the content of job.json."""
    shipped = input_checks.reference(claimed, workdir / "reference")
    snapshot_id, recipe = _stage_snapshot(claimed, workdir / "snapshot")
    with transaction() as session:
        snapshots.stage_log_probs(session, snapshot_id, claimed.reference_checkpoint_id, workdir / "scored-before")
    reference = {"kind": "base"}
    if shipped.adapter is not None:
        reference = {"kind": "adapter", "path": "reference", "fingerprint": shipped.adapter_fingerprint or ""}
    job = {
        "run_id": str(claimed.lease.run_id),
        "base_model": str(shipped.base_model),
        "base_fingerprint": shipped.base_fingerprint,
        "reference": reference,
        "reference_checkpoint_id": str(claimed.reference_checkpoint_id),
        "ancestor": str(shipped.ancestor),
    }
    if claimed.retries is not None:
        recipe = _take_over(claimed, claimed.retries, recipe, workdir) or recipe
    _seal(workdir)
    _stage_suites(claimed, workdir)
    write_sealed(workdir / "recipe.json", recipe.model_dump_json(indent=1).encode())
    return snapshot_id, json.dumps(job, indent=1).encode()


def _seal(workdir: Path) -> None:
    """Seals the files brought here. Shards and the adapter's weights have a SHA-256 in manifest.json and job.json."""
    manifest, scored = workdir / "snapshot" / "manifest.json", workdir / "scored-before"
    for path in (manifest, *scored.glob("*.safetensors")):
        write_seal(seal_of(path), [path])
    adapter = [path for path in (workdir / "reference").glob("*") if path.suffix != ".safetensors"]
    if adapter:
        write_seal(seal_of(workdir / "reference"), adapter)


def _stage_suites(claimed: Claimed, workdir: Path) -> None:
    """Writes the suites of the run, as they were when it was requested. Those that come with the server are as they are
    now; a difference is noted in the history of the run.
    """
    if not claimed.suites:
        return
    with transaction() as session:
        documents = suites.documents(session, claimed.project, claimed.suites)
        for chosen, item in zip(claimed.suites, documents, strict=True):
            if item["sha256"] != chosen.sha256:
                reason = f"the suite {chosen.name} of this server has changed since the run was requested"
                leases.note(session, claimed.lease, TransitionKind.NOTED, reason)
    write_sealed(workdir / "suites.json", json.dumps({"suites": documents}, ensure_ascii=False).encode())


def _take_over(claimed: Claimed, source: UUID, recipe: Recipe, workdir: Path) -> Recipe | None:
    """Brings the state of run `source` into `workdir`; returns its recipe, or None without such a state."""
    made_by = take_over(source, recipe, workdir)
    if made_by is not None:
        with transaction() as session:
            reason = f"goes on from the saved state of run {source}"
            leases.note(session, claimed.lease, TransitionKind.TAKEN_OVER, reason)
    return made_by


def _stage_snapshot(claimed: Claimed, folder: Path) -> tuple[UUID, Recipe]:
    """Builds the run's snapshot, or brings one from an earlier attempt here; returns its id and the resolved recipe."""
    with transaction() as session:  # a separate one, as others wait for it
        prompts.place(session, claimed.project, claimed.watermark)
    with transaction() as session:
        if claimed.snapshot_id is not None:
            input_checks.snapshot(session, claimed.snapshot_id, folder)
            return claimed.snapshot_id, claimed.recipe
        built = snapshots.build(
            session,
            claimed.project,
            claimed.configuration.snapshot,
            claimed.recipe.objective,
            watermark=claimed.watermark,
            seed=claimed.recipe.seed,
            shipped_checkpoint_id=claimed.shipped_checkpoint_id,
            folder=folder,
            pairs=claimed.recipe.pairs,
            kept_spans=claimed.kept_spans,
        )
        recipe = resolve(claimed.recipe, built.weight_desirable, built.weight_undesirable)
        leases.snapshotted(session, claimed.lease, built.id, recipe)
        return built.id, recipe
