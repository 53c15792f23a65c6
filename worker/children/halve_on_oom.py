"""Runs trainer and scorer again with fewer rows at once if memory runs out, within the same attempt of the run.

The batch size stays, so the result changes only by the rows from which z0 is estimated. The micro-batches change, so
training begins again, but the reference's log-probs are kept.
"""

import shutil
from pathlib import Path

from thumbwheel.wire.recipe import Recipe

from app.database import transaction
from app.runs.leases import service as leases
from app.runs.states import RunState, TransitionKind
from worker.children.heartbeat import Heartbeat
from worker.children.processes import ChildOutOfMemory, Failed, attend
from worker.training.files.sealed import is_sound, replace_sealed, unseal, write_sealed
from worker.training.machine.out_of_memory import remedies, smaller
from worker.training.watch.journal import append

#: Files that depend on the micro-batches. Those that are verified by their sources (token ids, start weights) stay.
OF_THE_PLAN = ("micro-batch.json", "metrics.jsonl", "drift.json", "training.json")
#: Halvings of the largest micro-batch.
MOST_HALVINGS = 12


def train(workdir: Path, heart: Heartbeat, state: RunState, module: str = "worker.training.train") -> RunState:
    """Runs the trainer to its end and returns the run's state.

    Raises what `attend` raises, except for `ChildOutOfMemory`: it raises `Failed` if memory runs out with the fewest
    rows.
    """
    while True:
        try:
            return attend("trainer", module, workdir, heart, state)
        except ChildOutOfMemory as shortage:
            _shrink(workdir, heart, shortage)


def score(workdir: Path, heart: Heartbeat, state: RunState, module: str = "worker.evaluation.score") -> RunState:
    """Runs the scorer to its end and returns the run's state.

    The scorer itself records how many rows it had, halves them at its next start, and refuses a single one.
    """
    for _ in range(MOST_HALVINGS):
        try:
            return attend("scorer", module, workdir, heart, state)
        except ChildOutOfMemory as shortage:
            reason = f"memory ran out while the holdout was scored, again with fewer rows at once: {shortage.cause}"
            with transaction() as session:
                leases.note(session, heart.lease, TransitionKind.SHRUNK, reason)
            _warn(workdir, reason)
    raise Failed(f"memory ran out {MOST_HALVINGS} times while the holdout was scored: use a machine with more memory")


def _shrink(workdir: Path, heart: Heartbeat, shortage: ChildOutOfMemory) -> None:
    recipe = Recipe.model_validate_json((workdir / "recipe.json").read_bytes())
    size = shortage.facts.get("micro_batch_size", recipe.micro_batch_size)
    if not isinstance(size, int):
        raise Failed(shortage.cause)
    twice = bool(shortage.facts.get("activations_computed_twice"))
    fewer = smaller(recipe, size, activations_computed_twice=twice)
    if fewer is None:
        remedy = remedies(recipe, activations_computed_twice=twice)
        raise Failed(f"memory ran out with {size} rows at once (micro_batch_size), and there cannot be fewer: {remedy}")
    reason = (
        f"memory ran out with {size} rows at once: training begins again with a micro_batch_size of "
        f"{fewer.micro_batch_size}, batch_size stays {recipe.batch_size}"
    )
    with transaction() as session:
        leases.shrink(session, heart.lease, fewer, reason)
    _begin_again(workdir, fewer, size)
    _warn(workdir, reason)


def _begin_again(workdir: Path, recipe: Recipe, size: int) -> None:
    """Removes the results of the larger micro-batch from `workdir` and writes `recipe`, last of all.

    After a kill before that, the next attempt runs out of memory as this one did.
    """
    scored = workdir / "reference.safetensors"
    if scored.exists():
        (workdir / "scored-before").mkdir(exist_ok=True)
        if is_sound(scored):
            replace_sealed(scored, workdir / "scored-before" / f"with-{size}-rows-at-once.safetensors")
        unseal(scored)
    for folder in ("state", "output"):
        shutil.rmtree(workdir / folder, ignore_errors=True)
    for name in OF_THE_PLAN:
        (workdir / name).unlink(missing_ok=True)
    write_sealed(workdir / "recipe.json", recipe.model_dump_json(indent=1).encode())


def _warn(workdir: Path, message: str) -> None:
    """Adds a warning of step 0, which remains whichever steps the run takes again."""
    line = {"step": 0, "code": "out_of_memory", "message": message}
    append(workdir / "warnings.jsonl", line)
