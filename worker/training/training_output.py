"""Writes what a finished run leaves: the trained checkpoint in output/, and training.json, which describes the run."""

import json
from pathlib import Path
from typing import Any

import torch

from app.durable import folder_atomically
from worker.training.files.fingerprint import weights_fingerprint
from worker.training.files.sealed import seal_of, unseal, write_seal, write_sealed
from worker.training.machine.determinism_record import determinism_record
from worker.training.models import policy as models
from worker.training.off_policy import OffPolicy
from worker.training.reference import ReferenceScores
from worker.training.state_saver import StateSaver
from worker.training.training_run import TrainingRun
from worker.training.watch import diagnosis


def write_output(run: TrainingRun, reference: ReferenceScores, writers: OffPolicy | None, saver: StateSaver) -> None:
    """Saves the policy, then the summary: each whole or not at all, with its seal."""
    job = run.job
    unseal(job.output)
    with folder_atomically(job.output) as folder:
        models.save_policy(run.start.policy, job, run.start.tokens, folder)
    saved = write_seal(seal_of(job.output), [path for path in job.output.rglob("*") if path.is_file()])
    digests = {Path(name).name: digest for name, digest in saved.items()}
    content = {
        "kind": "adapter" if run.recipe.method == "lora" else "weights",
        "weights_sha256": weights_fingerprint(job.output, digests),
        **_summary(run, reference, writers, saver),
    }
    write_sealed(job.workdir / "training.json", json.dumps(content, indent=1).encode())


def _summary(
    run: TrainingRun, reference: ReferenceScores, writers: OffPolicy | None, saver: StateSaver
) -> dict[str, Any]:
    job, recipe, start, world = run.job, run.recipe, run.start, run.ranks.world
    device = start.arithmetic.device
    return {
        "base_fingerprint": job.base_fingerprint,
        "recipe": recipe.model_copy(update={"micro_batch_size": start.micro_batch_size}).model_dump(mode="json"),
        "steps": run.total_steps,
        "epochs": -(-run.total_steps // run.steps_per_epoch),
        "rows_trained": run.plan.rows,
        "pairs_trained": run.plan.pairs if start.objective.data == "pairs" else None,
        "rows_dropped": start.read.dropped,
        "dropped": start.dropped,
        "rows_truncated": start.read.truncated,
        "tokens_cut": start.read.tokens_cut,
        "reference": {"scored": reference.scored, "cached": reference.cached},
        "off_policy": None if writers is None else writers.report(corrected=recipe.behaviour_correction),
        "edits": start.read.edited.report() if recipe.edit_kept_weight < 1 else None,
        "seconds": saver.seconds,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "ranks": world,
        "torch": torch.__version__,
        "threads": saver.threads,
        "memory": start.memory,
        "determinism": determinism_record(start.arithmetic, saver.threads, world),
        "identity": job.identity,
        "findings": [
            {"code": finding.code, "severity": finding.severity, "message": finding.message}
            for finding in diagnosis.findings(run.journal.metrics, recipe)
        ],
        "final": run.journal.metrics[-1],
    }
