"""Takes over saved state into a new working folder, from the run's last attempt or from the run that is retried.

A process of the earlier attempt may still be alive, or wake up, and write into its own folder meanwhile. Only files
that are never written again are linked; they are complete from the moment they have their name. Files that grow are
copied. The trainer verifies each file by its seal before use and rebuilds damaged ones.
"""

import logging
import os
import shutil
from pathlib import Path
from uuid import UUID

from pydantic import ValidationError
from thumbwheel.wire.recipe import Recipe

from worker.staging.attempt_folders import STAGED, epoch_of, run_folder, staged_folders
from worker.training.files.sealed import SUFFIX, DamagedFile, read

log = logging.getLogger(__name__)

#: Files and folders that a trainer rebuilds if they are damaged; each has a seal.
SEALED = (
    "training.json", "output", "reference.safetensors", "tokens.safetensors", "tokens-holdout.safetensors",
    "tokens-later.safetensors", "start.safetensors", "drift.json", "micro-batch.json", "scoring-batch.json",
    "dropped-by-reason.json",
)  # fmt: skip
#: Files and folders that a trainer leaves for the next attempt, which verifies them and that they are of the same job.
SAVED = (
    *SEALED, *(name + SUFFIX for name in SEALED), "state", "metrics.jsonl", "warnings.jsonl", "dropped.jsonl",
    "judge-answers",
)  # fmt: skip
#: Files and folders written by staging: the same for every attempt of a run.
INPUTS = (
    "snapshot", "reference", "reference.sha256", "scored-before", "recipe.json", "recipe.json.sha256", "suites.json",
    "suites.json.sha256",
)  # fmt: skip
LOGS = ("trainer.log", "progress.jsonl")
#: Files of a training checkpoint. One that lost a file while it was taken over is left out.
OF_A_CHECKPOINT = ("state.json", "weights.safetensors", "optimizer.safetensors", "files.sha256")


def continue_attempt(workdir: Path) -> bytes | None:
    """Brings the files of the run's newest earlier attempt on this machine into `workdir`.

    Returns the content of its job.json, which the caller writes last, or None if there is no such attempt or if its
    job.json, recipe.json or suites.json is damaged.
    """
    earlier = staged_folders(workdir.parent, before=epoch_of(workdir))
    if not earlier:
        return None
    try:
        job = read(earlier[0] / STAGED)
        read(earlier[0] / "recipe.json")
        if (earlier[0] / "suites.json").is_file():
            read(earlier[0] / "suites.json")
    except DamagedFile as damage:
        log.warning("%s: the run is staged again, and training begins from the start", damage)
        return None
    for name in (*INPUTS, *SAVED, *LOGS):
        _bring(earlier[0] / name, workdir / name)
    return job


def take_over(source: UUID, recipe: Recipe, workdir: Path) -> Recipe | None:
    """Brings a copy of the saved state of run `source` into `workdir`.

    Returns the recipe of that state, which differs from `recipe` at most in a measured micro-batch, or None if there is
    no state or its recipe is another one.
    """
    for before in staged_folders(run_folder(source)):
        if not (any(before.glob("state/step-*")) or (before / "training.json").is_file()):
            continue
        made_by = _recipe_in(before)
        if made_by is None or made_by.model_copy(update={"micro_batch_size": recipe.micro_batch_size}) != recipe:
            log.info("the state of run %s was made by another recipe: training begins from the start", source)
            return None
        for name in SAVED:
            _bring(before / name, workdir / name)
        return made_by
    return None


def _recipe_in(folder: Path) -> Recipe | None:
    try:
        return Recipe.model_validate_json(read(folder / "recipe.json"))
    except (OSError, ValidationError, DamagedFile):
        return None


def _bring(path: Path, target: Path) -> None:
    """Links a folder's files and weights, which are never written again; copies other files."""
    if path.is_dir():
        _bring_folder(path, target)
    elif path.suffix == ".safetensors":
        _link(path, target)
    else:
        _copy(path, target)


def _bring_folder(path: Path, target: Path) -> None:
    """Links a folder's files, except those still being written, whose names begin with a dot."""
    target.mkdir(parents=True, exist_ok=True)
    try:
        entries = sorted(path.iterdir())
    except FileNotFoundError:
        entries = []  # its owner removed it meanwhile
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            _bring_folder(entry, target / entry.name)
        else:
            _link(entry, target / entry.name)
    if path.name.startswith("step-") and not all((target / name).is_file() for name in OF_A_CHECKPOINT):
        shutil.rmtree(target)


def _link(path: Path, target: Path) -> None:
    try:
        os.link(path, target)
    except FileNotFoundError:
        return  # its owner removed it meanwhile
    except OSError:  # a file system without hard links
        _copy(path, target)


def _copy(path: Path, target: Path) -> None:
    try:
        shutil.copy2(path, target)
    except FileNotFoundError:
        return  # it does not exist, or its owner removed it meanwhile
