"""The trainer: `python -m worker.training.train WORKDIR`.

Reads and writes one folder (docs/workdir.md); knows no database, no network, no queue. `train` is the
whole run, top to bottom. torch and transformers are imported once the job has been read, so that a bad job is refused
at once.

Same WORKDIR, same machine, same number of threads: same bits on CPU, however often it was interrupted.
"""

import json
import os
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from itertools import chain, islice, tee
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.durable import folder_atomically
from worker.training.files.fingerprint import weights_fingerprint
from worker.training.files.sealed import is_sound, read_cache, seal_of, unseal, write_seal, write_sealed
from worker.training.job import Job, read_job
from worker.training.machine.out_of_memory import is_out_of_memory, remedies, smaller
from worker.training.machine.process import OutOfMemory, Stopped, StopRequest, first_line, libraries_are_loaded, run
from worker.training.watch.journal import Journal

if TYPE_CHECKING:
    from thumbwheel.wire.recipe import Recipe

    from worker.training.machine.ranks import Ranks
    from worker.training.prepare import Start


def train(workdir: Path, stop: StopRequest | None = None) -> None:
    """Train the job in `workdir`, continuing an interrupted one; a finished one is left as it is.

    Raises `Refusal` on anything an operator can mend, `OutOfMemory` where fewer rows at once may fit, `Stopped` once
    the state is saved after `stop` was requested.
    """
    stop = stop or StopRequest()
    with stop.at_once():
        job = read_job(workdir)
        if _is_finished(job):
            return

        from worker.training.machine.ranks import Ranks

    with Ranks.join() as ranks, closing(Journal(workdir, writes=ranks.writes)) as journal:
        with stop.at_once():
            journal.progress("loading", 0, 1)

            from worker.training.prepare import prepared

            libraries_are_loaded()
            start = prepared(job, ranks)
            journal.progress("loading", 1, 1)
        stop.raise_if_requested()
        try:
            _train(job, start, journal, stop, ranks)
        except Exception as error:
            if is_out_of_memory(error):
                raise _too_many_rows(job.recipe, start, error) from None
            raise


def _too_many_rows(recipe: "Recipe", start: "Start", error: Exception) -> OutOfMemory:
    twice = start.activations_computed_twice
    fewer = smaller(recipe, start.micro_batch_size, activations_computed_twice=twice)
    remedy = remedies(recipe, activations_computed_twice=twice)
    if fewer is not None:
        remedy = f"set micro_batch_size to {fewer.micro_batch_size} and begin again, or {remedy}"
    return OutOfMemory(
        f"recipe.json: micro_batch_size: {start.micro_batch_size} rows at once do not fit into memory "
        f"({first_line(error)}): {remedy}",
        micro_batch_size=start.micro_batch_size,
        activations_computed_twice=twice,
    )


def _train(job: Job, start: "Start", journal: Journal, stop: StopRequest, ranks: "Ranks") -> None:
    import torch

    from worker.training import saved_state
    from worker.training.data import batches
    from worker.training.data.dropped import warnings_of
    from worker.training.data.prefetch import prepared_ahead
    from worker.training.machine.determinism import determinism
    from worker.training.microbatch import Reader
    from worker.training.models import lora
    from worker.training.models import policy as models
    from worker.training.reference import reference_fingerprint
    from worker.training.step import Stepper
    from worker.training.watch import diagnosis, plan_diagnosis
    from worker.training.watch.drift import Drift

    workdir, recipe = job.workdir, job.recipe
    objective, arithmetic, reading = start.objective, start.arithmetic, start.reading
    read, rows, pairs, max_length = start.read, start.read.rows, start.pairs, start.max_length
    policy, weights, optimizer = start.policy, start.weights, start.optimizer
    micro_batch_size = start.micro_batch_size

    # The fixed plan of micro-batches: which rows, and whose completion each is mismatched with.
    if objective.data == "pairs":
        plan = batches.plan_pairs(rows, pairs, micro_batch_size, seed=recipe.seed)
    else:
        plan = batches.plan(
            rows,
            micro_batch_size,
            even_classes=recipe.balance == "batch",
            seed=recipe.seed,
            mismatched=objective.mismatched,
            only=[i for i, row in enumerate(rows) if row.desirable] if objective.data == "desirable rows" else None,
        )
    blocks_per_step = recipe.batch_size // micro_batch_size
    steps_per_epoch = plan.steps_per_epoch(blocks_per_step)
    total_steps = min(recipe.epochs * steps_per_epoch, recipe.max_steps or recipe.epochs * steps_per_epoch)

    # The reference: the policy scores the plan while it still is the shipped checkpoint. Only then is a state loaded.
    # An epoch takes every block once, so the first one needs all scores, or as many as max_steps lets it.
    reader = Reader(reading, rows, objective, recipe, arithmetic, max_length, ranks, start.router_coefficient)
    first_epoch = plan.steps(0, blocks_per_step, recipe.seed)[:total_steps]
    reference = reader.score(
        [block for step in first_epoch for block in step],
        workdir / "reference.safetensors",
        reference_fingerprint(job, arithmetic, max_length, by_token=objective.by_token, packed=reading.packed),
        stop,
        lambda done, total: journal.progress("referencing", done, total),
        sorted((workdir / "scored-before").glob("*.safetensors")),
    )

    def raise_if_stopped() -> None:
        if ranks.any(stop.requested):
            raise Stopped

    drift = Drift(
        reading,
        weights,
        rows,
        job,
        arithmetic,
        total_steps=total_steps,
        micro_batch_size=micro_batch_size,
        ends=start.tokens.ends,
        context=start.context,
        max_length=max_length,
        ranks=ranks,
        between=raise_if_stopped,
    )
    drift.begin()

    state = workdir / "state"
    position, passed_over = saved_state.resume(state, job.identity, weights, optimizer, micro_batch_size)
    position = position or saved_state.Position(0, 0.0, torch.get_num_threads())
    journal.continue_after(position.step)
    if passed_over:
        journal.warn(position.step, "state_damaged", _damaged(state, passed_over, position.step), again=True)
    if recipe.packing == "auto" and not reading.packed:
        journal.warn(
            0,
            "padded",
            f"rows are padded, not packed, because {reading.padded_because}: prompts are read twice, and padding takes "
            "the share padding_share of metrics.jsonl",
        )
    if recipe.compile and not start.compiled:
        journal.warn(
            0,
            "not_compiled",
            "the model's layers run as they are: compiled they failed or said something else, or activations are "
            "computed twice, or this CPU has no bfloat16",
        )
    if (unreached := lora.warning_of_reach(policy, recipe)) is not None:
        journal.warn(0, "lora_reach", unreached)
    for code, message in warnings_of(start.dropped):
        journal.warn(0, code, message)
    for finding in plan_diagnosis.of_rows(read, plan, recipe, start.context):
        journal.warn(0, finding.code, finding.message)
    if position.threads != torch.get_num_threads():
        journal.warn(
            position.step,
            "threads",
            f"the run began with {position.threads} threads and continues with {torch.get_num_threads()}: "
            f"set OMP_NUM_THREADS={position.threads} if the weights must equal an uninterrupted run's bit for bit",
        )
    started = time.monotonic() - position.seconds
    due = saved_state.Due(recipe)

    def save_state(step: int, running: tuple[float, float], unfinished: dict[str, Any] | None = None) -> None:
        if ranks.writes:
            seconds = time.monotonic() - started
            now = saved_state.Position(step, seconds, position.threads, running, unfinished, micro_batch_size)
            saved_state.save(state, now, job.identity, weights, optimizer)
            due.saved()

    def finish(step: int, figures: dict[str, Any], running: tuple[float, float]) -> None:
        """What is left to do once the weights have moved: measure the drift, tell, save."""
        try:
            line = figures | drift.after(step)
        except Stopped:
            save_state(step, running, unfinished=figures)
            raise
        journal.metric(line)
        journal.progress("training", step, total_steps)
        for finding in diagnosis.findings(journal.metrics, recipe):
            journal.warn(step, finding.code, finding.message)
        if step < total_steps and due.after(step):
            save_state(step, running)

    if position.unfinished is not None:
        finish(position.step, position.unfinished, position.running)
    stepper = Stepper(reader, reference, weights, optimizer, total_steps, workdir)
    running = position.running
    left = islice(plan.steps_after(position.step, blocks_per_step, recipe.seed), total_steps - position.step)
    steps, to_prepare = tee(left)
    prepared = prepared_ahead(
        lambda block: reader.prepared(reader.share(block), reference), chain.from_iterable(to_prepare)
    )
    with closing(prepared):
        for step, blocks in enumerate(steps, position.step + 1):
            before = running
            try:
                figures, running = stepper.take(step, blocks, prepared, running, raise_if_stopped)
            except Stopped:
                # What was accumulated is dropped; the step is taken again from the weights before it.
                save_state(step - 1, before)
                raise
            epoch = (step - 1) // steps_per_epoch
            finish(step, {"step": step, "total_steps": total_steps, "epoch": epoch + 1} | figures, running)

    if not ranks.writes:
        return
    unseal(job.output)
    with folder_atomically(job.output) as folder:
        models.save_policy(policy, job, start.tokens, folder)
    saved = write_seal(seal_of(job.output), [path for path in job.output.rglob("*") if path.is_file()])
    digests = {Path(name).name: digest for name, digest in saved.items()}
    summary = {
        "kind": "adapter" if recipe.method == "lora" else "weights",
        "weights_sha256": weights_fingerprint(job.output, digests),
        "base_fingerprint": job.base_fingerprint,
        "recipe": recipe.model_copy(update={"micro_batch_size": micro_batch_size}).model_dump(mode="json"),
        "steps": total_steps,
        "epochs": -(-total_steps // steps_per_epoch),
        "rows_trained": plan.rows,
        "pairs_trained": len(pairs) if objective.data == "pairs" else None,
        "rows_dropped": read.dropped,
        "dropped": start.dropped,
        "rows_truncated": read.truncated,
        "tokens_cut": read.tokens_cut,
        "reference": {"scored": reference.scored, "cached": reference.cached},
        "seconds": time.monotonic() - started,
        "device": torch.cuda.get_device_name(arithmetic.device) if arithmetic.device.type == "cuda" else "cpu",
        "ranks": ranks.world,
        "torch": torch.__version__,
        "threads": position.threads,
        "memory": start.memory,
        "determinism": determinism(arithmetic, position.threads, ranks.world),
        "identity": job.identity,
        "findings": [
            {"code": finding.code, "message": finding.message}
            for finding in diagnosis.findings(journal.metrics, recipe)
        ],
        "final": journal.metrics[-1],
    }
    write_sealed(workdir / "training.json", json.dumps(summary, indent=1).encode())


def _damaged(folder: Path, names: Sequence[str], step: int) -> str:
    what = "training checkpoint" if len(names) == 1 else "training checkpoints"
    goes_on = f"continues from the one after step {step}" if step else "begins again, as there is no sound one"
    return (
        f"{what} {', '.join(names)} in {folder} did not verify and went aside: the run {goes_on}; look for faults of "
        "this disk"
    )


def _is_finished(job: Job) -> bool:
    """Whether output/ already holds what this very job trains."""
    summary = read_cache(job.workdir / "training.json")
    return summary is not None and json.loads(summary)["identity"] == job.identity and is_sound(job.output)


def train_and_draw(workdir: Path, stop: StopRequest) -> None:
    """`train`, and its metrics as curves.png."""
    train(workdir, stop)

    from worker.training.watch.curves import draw
    from worker.training.watch.journal import lines

    if os.environ.get("RANK", "0") == "0" and not (workdir / "curves.png").exists():
        draw(lines(workdir / "metrics.jsonl"), workdir / "curves.png")


if __name__ == "__main__":
    about = "Train the job in WORKDIR; called again, it continues where it was stopped."
    sys.exit(run("worker.training.train", about, train_and_draw))
