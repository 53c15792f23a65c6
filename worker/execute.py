"""A run from claim to checkpoint: claim → stage WORKDIR → train → score → judge → register. No torch in this process.

Whatever happens, the run is left in one of these ways:

    succeeded   the checkpoint is registered, whatever its gates say
    failed      with a sentence: the feedback, the trainer or the scorer refused, or one of them crashed
    cancelled   somebody cancelled it, and the processes are gone
    given back  the worker has to stop, a process was killed, or a disk is full: the next claim continues from the
                saved state
    dropped     the lease is gone: somebody else has the run, nothing more is written to it
"""

import logging
import os
import shutil
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from uuid import UUID, uuid4

from app import artifacts
from app.artifacts import DamagedArtifact, StoreUnusable
from app.checkpoints.few_shots import OUTPUTS
from app.database import transaction
from app.errors import StaleLease, ThumbwheelError, Unavailable
from app.labels.audits import service as audits
from app.runs.full_disk import service as full_disk
from app.runs.leases import service as leases
from app.runs.leases.service import Claimed
from app.runs.states import RunState
from app.runs.transitions.webhook_types import UNFORESEEN
from app.snapshots import service as snapshots
from app.snapshots.redactions import service as redactions
from app.suites.outcomes_file import OUTCOMES
from worker import registration
from worker.children import halve_on_oom
from worker.children.heartbeat import Heartbeat
from worker.children.processes import Cancelled, DiskFull, Failed, Left, Lost, heed
from worker.judging import judge_of_suites, judge_samples
from worker.staging.attempt_folders import STAGED, workdir_of
from worker.staging.workdir import stage
from worker.training.machine.out_of_memory import is_disk_full
from worker.training.machine.process import disk_of

log = logging.getLogger(__name__)

#: In a registered run's folder.
LARGE = (
    "state", "output", "start.safetensors", "reference", "reference.safetensors", "scored-before", "tokens.safetensors",
    "tokens-holdout.safetensors", "tokens-later.safetensors", OUTCOMES, OUTPUTS, "judge-answers",
)  # fmt: skip


def look(run_id: UUID, stopping: Callable[[], bool]) -> None:
    """Works on the run if it waits for a worker. `stopping` returns whether this worker has to end."""
    owner = f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}"
    with transaction() as session:
        claimed = leases.claim(session, run_id, owner)
    if claimed is None:
        log.info("run %s: nothing to do, somebody has it or it has ended", run_id)
        return
    log.info("run %s of project %s: claimed, attempt %d", run_id, claimed.project, claimed.lease.epoch)
    try:
        with Heartbeat(claimed.lease, stopping) as heart:
            _attempt(claimed, heart)
    except StaleLease:
        log.warning("run %s: the lease is gone, leaving it to its new holder", run_id)
    except Unavailable as error:
        # This cannot be recorded now; when the lease has expired, the reaper returns the run.
        log.warning("run %s: left, a server is away: %s", run_id, error.message)


def _attempt(claimed: Claimed, heart: Heartbeat) -> None:
    """Works on the run, and records its end. Raises `StaleLease`, `Unavailable`."""
    lease = claimed.lease
    try:
        _work(claimed, heart)
    except Cancelled:
        with transaction() as session:
            leases.cancelled(session, lease)
    except Left:
        with transaction() as session:
            leases.release(session, lease)
    except Lost as death:
        with transaction() as session:
            leases.lose(session, lease, death.cause)
    except Failed as failure:
        _fail(claimed, failure.cause)
    except DiskFull as full:
        _hold_up(claimed, full.cause)
    except OSError as error:
        if is_disk_full(error):
            _hold_up(claimed, disk_of(workdir_of(lease)))
        else:
            _fail(claimed, f"this machine refused: {error}: mend it, then retry the run")
    except snapshots.ErasedMeanwhile as error:
        with transaction() as session:
            leases.lose(session, lease, error.message)
    except ThumbwheelError as error:
        waiting_helps = isinstance(error, Unavailable) and not isinstance(error, DamagedArtifact | StoreUnusable)
        if isinstance(error, StaleLease) or waiting_helps:
            raise
        if isinstance(error, StoreUnusable) and is_disk_full(error):
            _hold_up(claimed, f"the artifact store {artifacts.location()}")
        else:
            _fail(claimed, error.message)
    except Exception as error:
        if is_disk_full(error):  # as libraries tell it
            return _hold_up(claimed, disk_of(workdir_of(lease)))
        log.exception("run %s: unexpected error", lease.run_id)
        _fail(claimed, f"{UNFORESEEN}: {type(error).__name__}: {error}")


def _work(claimed: Claimed, heart: Heartbeat) -> None:
    workdir = workdir_of(claimed.lease)
    snapshot_id = stage(claimed, workdir)
    heed(heart)
    state = _advance(claimed, RunState.REFERENCING)
    try:
        state = halve_on_oom.train(workdir, heart, state)
    finally:
        registration.keep_log_probs(claimed, snapshot_id, workdir)
    with transaction() as session:
        leases.trained(session, claimed.lease, registration.recipe_of(workdir))
    state = _advance(claimed, RunState.EVALUATING)
    halve_on_oom.score(workdir, heart, state)
    with judge_of_suites(workdir, heart) as evidence_of:
        registration.grade_suites(workdir, lambda: heed(heart), evidence_of)
    judge_samples(workdir, heart)
    manifest = registration.manifest_of(claimed, snapshot_id, workdir)
    files = registration.store(manifest, workdir)
    suspicions = registration.suspicions_of(workdir)
    with transaction() as session:
        checkpoint_id = leases.finish(
            session,
            claimed.lease,
            weights_sha256=manifest["weights_sha256"],
            files=files,
            manifest=manifest,
        )
        audits.suspect(session, claimed.project, checkpoint_id, suspicions)
        redactions.redact_samples(session, snapshot_id)
    log.info("run %s: registered checkpoint %s, verdict %s", claimed.lease.run_id, checkpoint_id, manifest["verdict"])
    _clear_away(workdir)


def _clear_away(workdir: Path) -> None:
    """Removes the large files of a registered run's folder, which the store has or nobody needs. Logs and figures
    stay for inspection."""
    for name in LARGE:
        path = workdir / name
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(OSError):  # the run has succeeded, whatever stays
                path.unlink(missing_ok=True)


def _advance(claimed: Claimed, to: RunState) -> RunState:
    with transaction() as session:
        state = leases.advance(session, claimed.lease, to)
    if state is RunState.CANCELLING:
        raise Cancelled
    return state


def _hold_up(claimed: Claimed, disk: str) -> None:
    """Gives the run back until there is room. Removes a folder that was not staged completely, which nobody uses."""
    log.warning("run %s: %s is full", claimed.lease.run_id, disk)
    workdir = workdir_of(claimed.lease)
    if not (workdir / STAGED).is_file():
        shutil.rmtree(workdir, ignore_errors=True)
    with transaction() as session:
        full_disk.hold_up(session, claimed.lease, disk)


def _fail(claimed: Claimed, reason: str) -> None:
    log.warning("run %s: failed: %s", claimed.lease.run_id, reason)
    with transaction() as session:
        leases.fail(session, claimed.lease, reason)
