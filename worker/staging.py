"""WORKDIR: the folder of a run, filled before its trainer starts (docs/architecture.md says what is in it)."""

import json
import shutil
from pathlib import Path
from uuid import UUID

from app import settings
from app.database import transaction
from app.runs.leases import service as leases
from app.runs.leases.service import Claimed
from app.runs.recipe import Recipe, resolve
from app.snapshots import service as snapshots
from app.snapshots.prompts import service as prompts
from worker import preflight
from worker.kto.files import write_atomically
from worker.takeover import put_in_place, take_over


def workdir_of(run_id: UUID) -> Path:
    return settings.current().work_dir / str(run_id)


def stage(claimed: Claimed, workdir: Path) -> UUID:
    """Fill `workdir`, unless an earlier attempt on this machine did: job.json is written last. The snapshot's id.

    Raises `Failed` where files show that the run cannot be trained, before anything else is done; `Refused` where the
    feedback does not make a snapshot, `StaleLease`, and what the artifact store raises.
    """
    if claimed.snapshot_id is not None and (workdir / "job.json").is_file():
        return claimed.snapshot_id
    workdir.mkdir(parents=True, exist_ok=True)
    shipped = preflight.reference(claimed, workdir / "reference")
    # By a worker that was killed, or that is frozen: it lost its lease.
    for left in [*workdir.glob("snapshot.*"), *workdir.glob("taken.*")]:
        shutil.rmtree(left, ignore_errors=True)
    aside = workdir / f"snapshot.{claimed.lease.epoch}"
    try:
        snapshot_id, recipe = _stage_snapshot(claimed, aside)
        # A worker that was frozen meanwhile must not touch what another one trains on by now.
        with transaction() as session:
            leases.renew(session, claimed.lease)
        shutil.rmtree(workdir / "snapshot", ignore_errors=True)
        aside.rename(workdir / "snapshot")
    finally:
        shutil.rmtree(aside, ignore_errors=True)
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
        recipe = _take_over(claimed, claimed.retries, recipe, workdir / f"taken.{claimed.lease.epoch}") or recipe
    write_atomically(workdir / "recipe.json", recipe.model_dump_json(indent=1).encode())
    write_atomically(workdir / "job.json", json.dumps(job, indent=1).encode())
    return snapshot_id


def _take_over(claimed: Claimed, source: UUID, recipe: Recipe, aside: Path) -> Recipe | None:
    """Bring the state of run `source` into the folder that `aside` lies in; the recipe that it was made by, if any."""
    try:
        made_by = take_over(source, recipe, aside)
        if made_by is not None:
            with transaction() as session:  # a worker that was frozen meanwhile finds its lease gone
                leases.tell(session, claimed.lease, f"goes on from the saved state of run {source}")
            put_in_place(aside)
        return made_by
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _stage_snapshot(claimed: Claimed, folder: Path) -> tuple[UUID, Recipe]:
    """Build the run's snapshot, or bring it here where an earlier attempt built it; and the resolved recipe."""
    with transaction() as session:  # of its own, as it keeps others waiting
        prompts.place(session, claimed.project, claimed.watermark)
    with transaction() as session:
        if claimed.snapshot_id is not None:
            preflight.snapshot(session, claimed.snapshot_id, folder)
            return claimed.snapshot_id, claimed.recipe
        built = snapshots.build(
            session,
            claimed.project,
            claimed.configuration.snapshot,
            claimed.recipe.objective,
            watermark=claimed.watermark,
            seed=claimed.recipe.seed,
            shipped_checkpoint_id=claimed.reference_checkpoint_id,
            folder=folder,
        )
        recipe = resolve(claimed.recipe, built.weight_desirable, built.weight_undesirable)
        leases.snapshotted(session, claimed.lease, built.id, recipe)
        return built.id, recipe
