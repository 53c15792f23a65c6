"""Puts what a target loads into its publish folder: complete, under the digest of its content, or not at all."""

import logging
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from uuid import uuid4

from app import artifacts, services, settings
from app.checkpoints import service as checkpoints
from app.checkpoints.service import Chain
from app.durable import flush, folder_atomically
from app.serving.served_artifact import ServedArtifact
from app.serving.targets.target import TargetRefused

log = logging.getLogger(__name__)

UNFINISHED, MERGE = ".publishing-", "merge-"
#: What is older was left by a worker that was killed.
UNFINISHED_SECONDS = 24 * 3600
MERGE_SECONDS = 3600
POLL_SECONDS = 0.2


def publish(artifact: ServedArtifact, files: Mapping[str, str], layers: Chain, heed: Callable[[], None]) -> None:
    """Writes the artifact's folder unless it is there. Any number of workers may do so at the same time.

    files   the stored files (path → SHA-256) of the folder; an adapter that is merged into its base model has none
    heed    is called while it works; it may raise

    Raises `TargetRefused` if the folder cannot be written or the merge fails, `NotFound` and `Unavailable` of the
    artifact store, and what `heed` raises.
    """
    target = Path(artifact.folder)
    if artifact.kind == "base" or all((target / name).is_file() for name in files or ("config.json",)):
        return
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _sweep(target.parent, f".*{UNFINISHED[1:]}*")
        # Not under its own name, in which another worker may write it at the same time.
        aside = target.with_name(f"{UNFINISHED}{uuid4().hex}")
        with folder_atomically(aside) as folder:
            for name, sha256 in files.items():
                artifacts.fetch(sha256, folder / name)
                heed()
            if not files:
                _merge(layers, folder, heed)
        _put_in_place(aside, target)
    except OSError as error:
        raise TargetRefused(
            f"{target.parent} cannot be written ({error.strerror or error}): check publish_folder, its rights and its "
            "disk"
        ) from None


def _put_in_place(aside: Path, target: Path) -> None:
    if target.exists():  # complete, from another worker; or damaged, so that a file is missing
        old = target.with_name(f"{UNFINISHED}{uuid4().hex}")
        target.rename(old)
        aside.rename(target)
        shutil.rmtree(old, ignore_errors=True)
    else:
        aside.rename(target)
    flush(target.parent)


def _merge(layers: Chain, folder: Path, heed: Callable[[], None]) -> None:
    """Merges the adapter into its base model, in a process of its own: this one does not load torch."""
    if find_spec("torch") is None:
        raise TargetRefused(
            "an adapter has to be merged into its base model for this target, and the housekeeping worker has no "
            "torch: run it from the image thumbwheel-worker"
        )
    _sweep(settings.current().work_dir, f"{MERGE}*")
    work = settings.current().work_dir / f"{MERGE}{uuid4().hex}"
    try:
        staged = checkpoints.stage(layers, work / "adapter")
        assert staged.adapter is not None, "only an adapter is merged"
        command: list[str | Path] = [
            sys.executable,
            "-m",
            "worker.serving.merge",
            staged.base_model,
            staged.adapter,
            folder,
        ]
        log.info("merging %s into %s", staged.adapter, staged.base_model)
        output = work / "merge.log"
        with output.open("wb") as lines:
            process = subprocess.Popen(services.tethered(command), stdout=lines, stderr=lines)
        try:
            _await(process, heed)
        finally:
            process.kill()
            process.wait()
        if process.returncode:
            last = output.read_text(errors="replace").strip().rpartition("\n")[2]
            raise TargetRefused(f"the adapter cannot be merged into its base model: {last or process.returncode}")
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _await(process: "subprocess.Popen[bytes]", heed: Callable[[], None]) -> None:
    end = time.monotonic() + MERGE_SECONDS
    while process.poll() is None:
        heed()
        if time.monotonic() > end:
            raise TargetRefused(f"merging takes more than {MERGE_SECONDS // 60} minutes")
        time.sleep(POLL_SECONDS)


def _sweep(folder: Path, pattern: str) -> None:
    for left in folder.glob(pattern):
        try:
            if left.stat().st_mtime < time.time() - UNFINISHED_SECONDS:
                shutil.rmtree(left, ignore_errors=True)
        except FileNotFoundError:
            continue  # its owner, or another sweep, was quicker
