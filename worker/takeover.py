"""What a retried run takes over from the run that it retries, where that one's WORKDIR lies on this machine."""

import logging
import os
import shutil
from pathlib import Path
from uuid import UUID

from pydantic import ValidationError

from app.runs.recipe import Recipe
from worker.attend import alone_in

log = logging.getLogger(__name__)

#: What a trainer leaves behind for its next attempt. Each is verified by what reads it: it says which job it is of.
SAVED = (
    "state", "output", "training.json", "reference.safetensors", "tokens.safetensors", "start.safetensors",
    "drift.json", "micro-batch.json", "scoring-batch.json", "metrics.jsonl", "warnings.jsonl",
)  # fmt: skip


def take_over(source: UUID, recipe: Recipe, aside: Path) -> Recipe | None:
    """Bring what run `source` saved into `aside`, in a WORKDIR that lies beside its own; the source keeps it, too.

    The recipe by which the state was made: `recipe` but for a micro-batch that the trainer measured. None where there
    is no state, or one by another recipe. Raises `Lost` where a process of the source's cannot be stopped.
    """
    before = aside.parent.with_name(str(source))
    if not (any(before.glob("state/step-*")) or (before / "training.json").is_file()):
        return None
    made_by = _recipe_in(before)
    if made_by is None or made_by.model_copy(update={"micro_batch_size": recipe.micro_batch_size}) != recipe:
        log.info("the state of run %s was made by another recipe: begun anew", source)
        return None
    with alone_in(before):  # its trainer may have outlived its worker
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir()
        for name in SAVED:
            _bring(before / name, aside / name)
    return made_by


def put_in_place(aside: Path) -> None:
    """Move what `take_over` brought into the WORKDIR that `aside` lies in."""
    for path in aside.iterdir():
        target = aside.parent / path.name
        if target.is_dir():
            shutil.rmtree(target)
        path.replace(target)
    aside.rmdir()


def _recipe_in(folder: Path) -> Recipe | None:
    try:
        return Recipe.model_validate_json((folder / "recipe.json").read_bytes())
    except (OSError, ValidationError):
        return None


def _bring(path: Path, target: Path) -> None:
    """Files in folders are never written to again: they are linked. Others are."""
    if path.is_dir():
        shutil.copytree(path, target, copy_function=_link)
    elif path.is_file():
        shutil.copy2(path, target)


def _link(path: str, target: str) -> None:
    try:
        os.link(path, target)
    except OSError:  # a file system without hard links
        shutil.copy2(path, target)
