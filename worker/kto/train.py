"""The trainer: `python -m worker.kto.train WORKDIR`.

Reads and writes one folder (docs/architecture.md, "WORKDIR"); knows no database, no network, no queue. `train` is the
whole run, top to bottom. torch and transformers are imported once the job has been read, so that a bad job is refused
at once.

Same WORKDIR, same machine, same number of threads: same bits on CPU, however often it was interrupted.
"""

import json
import os
import sys
import time
from contextlib import closing
from itertools import chain, islice, tee
from pathlib import Path
from typing import TYPE_CHECKING, Any

from worker.kto.files import folder_atomically, weights_fingerprint, write_atomically
from worker.kto.job import Job, read_job
from worker.kto.journal import Journal
from worker.kto.process import Stopped, StopRequest, run

if TYPE_CHECKING:
    from worker.kto.ranks import Ranks


def train(workdir: Path, stop: StopRequest | None = None) -> None:
    """Train the job in `workdir`, continuing an interrupted one; a finished one is left as it is.

    Raises `Refusal` on anything an operator can mend, `Stopped` once the state is saved after `stop` was requested.
    """
    job = read_job(workdir)
    if _is_finished(job):
        return

    from worker.kto.ranks import Ranks

    with Ranks.join() as ranks, closing(Journal(workdir, writes=ranks.writes)) as journal:
        _train(job, journal, stop or StopRequest(), ranks)


def _train(job: Job, journal: Journal, stop: StopRequest, ranks: "Ranks") -> None:
    workdir, recipe = job.workdir, job.recipe
    journal.progress("loading", 0, 1)

    import torch

    from worker.kto import batches, checkpoint, diagnosis, models, preflight
    from worker.kto.ahead import prepared_ahead
    from worker.kto.determinism import determinism
    from worker.kto.drift import Drift
    from worker.kto.free_memory import free_bytes
    from worker.kto.logprobs import Reading
    from worker.kto.memory import decided_micro_batch, measured_micro_batch
    from worker.kto.microbatch import Reader
    from worker.kto.objectives import OBJECTIVES
    from worker.kto.readings import is_compiled, reading_of, tried
    from worker.kto.reference import reference_fingerprint
    from worker.kto.rows import read_pairs, read_rows
    from worker.kto.step import Stepper, adamw

    # Rows as token ids.
    models.ask_for_determinism()
    objective = OBJECTIVES[recipe.objective]
    preflight.require_possible_job(job)
    arithmetic = models.Arithmetic.of(recipe)
    device = arithmetic.device
    context = models.context_length(job.base)
    tokens = models.load_tokens(job.base)
    max_length = min(recipe.max_length, context or recipe.max_length)
    weigh_tokens = recipe.objective == "tkto"
    read = read_rows(
        workdir / "snapshot",
        job.shards_of("train"),
        tokens,
        max_length,
        weigh_tokens=weigh_tokens,
        tokenised=workdir / "tokens.safetensors",
        keeps=ranks.writes,
    )
    rows = read.rows
    pairs = read_pairs(workdir / "snapshot", job.pairs, read) if objective.data == "pairs" else []
    preflight.require_possible_rows(job, read, pairs, max_length)

    # The policy starts as the shipped checkpoint; optimizer and position continue where an earlier attempt was stopped.
    torch.manual_seed(recipe.seed)
    with ranks.together():
        policy = models.load_policy(job, arithmetic)
    weights = models.trained_weights(policy)
    optimizer = adamw(weights, recipe)
    journal.progress("loading", 1, 1)
    stop.raise_if_requested()

    # How the policy is read, and how many rows at once.
    router_coefficient = models.router_coefficient(policy)
    reading = Reading.plain(policy, arithmetic.precision)
    if recipe.packing == "auto":
        reading = reading_of(policy, tried(rows, max_length), arithmetic.precision)

    def measure() -> tuple[int, dict[str, Any]]:
        return measured_micro_batch(
            reading,
            weights,
            rows,
            recipe,
            arithmetic,
            max_length,
            ranks,
            free=free_bytes(device),
            at_most=preflight.rows_of_an_epoch(recipe, read, pairs),
            router_loss=router_coefficient > 0,
        )

    micro_batch_size, memory = decided_micro_batch(job, ranks, measure)
    if recipe.activation_checkpointing == "on" or (memory is not None and memory["activations_computed_twice"]):
        reading = reading.recomputing()
    compiled = recipe.compile and is_compiled(reading, tried(rows, max_length))

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
    reader = Reader(reading, rows, objective, recipe, arithmetic, max_length, ranks, router_coefficient)
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
        ends=tokens.ends,
        context=context,
        max_length=max_length,
        ranks=ranks,
        between=raise_if_stopped,
    )
    drift.begin()

    state = workdir / "state"
    passed_over: list[str] = []
    position = checkpoint.resume(state, job.identity, weights, optimizer, passed_over.append)
    position = position or checkpoint.Position(0, 0.0, torch.get_num_threads())
    journal.continue_after(position.step)
    for message in passed_over:
        journal.warn(position.step, "state_damaged", message)
    if recipe.packing == "auto" and not reading.packed:
        journal.warn(
            0,
            "padded",
            "the base model's attention cannot be packed (packed rows say something else than single ones): rows are "
            "padded, which computes the share padding_share of metrics.jsonl in vain and reads prompts twice",
        )
    if recipe.compile and not compiled:
        journal.warn(
            0,
            "not_compiled",
            "the model's layers run as they are: compiled they failed or said something else, or activations are "
            "computed twice, or this CPU has no bfloat16",
        )
    for finding in diagnosis.of_rows(read, plan, recipe, context):
        journal.warn(0, finding.code, finding.message)
    if position.threads != torch.get_num_threads():
        journal.warn(
            position.step,
            "threads",
            f"the run began with {position.threads} threads and continues with {torch.get_num_threads()}: "
            f"set OMP_NUM_THREADS={position.threads} if the weights must equal an uninterrupted run's bit for bit",
        )
    started = time.monotonic() - position.seconds

    def save_state(step: int, running: tuple[float, float], unfinished: dict[str, Any] | None = None) -> None:
        if ranks.writes:
            seconds = time.monotonic() - started
            now = checkpoint.Position(step, seconds, position.threads, running, unfinished)
            checkpoint.save(state, now, job.identity, weights, optimizer)

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
        if step % recipe.save_every_steps == 0 and step < total_steps:
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
    with folder_atomically(job.output) as folder:
        models.save_policy(policy, job, tokens, folder)
    summary = {
        "kind": "adapter" if recipe.method == "lora" else "weights",
        "weights_sha256": weights_fingerprint(job.output),
        "base_fingerprint": job.base_fingerprint,
        "recipe": recipe.model_copy(update={"micro_batch_size": micro_batch_size}).model_dump(mode="json"),
        "steps": total_steps,
        "epochs": -(-total_steps // steps_per_epoch),
        "rows_trained": plan.rows,
        "pairs_trained": len(pairs) if objective.data == "pairs" else None,
        "rows_dropped": read.dropped,
        "rows_truncated": read.truncated,
        "tokens_cut": read.tokens_cut,
        "reference": {"scored": reference.scored, "cached": reference.cached},
        "seconds": time.monotonic() - started,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "ranks": ranks.world,
        "torch": torch.__version__,
        "threads": position.threads,
        "memory": memory,
        "determinism": determinism(arithmetic, position.threads, ranks.world),
        "identity": job.identity,
        "final": journal.metrics[-1],
    }
    write_atomically(workdir / "training.json", json.dumps(summary, indent=1).encode())


def _is_finished(job: Job) -> bool:
    """Whether output/ already holds what this very job trains."""
    try:
        summary = json.loads((job.workdir / "training.json").read_bytes())
    except FileNotFoundError:
        return False
    return bool(summary["identity"] == job.identity and summary["weights_sha256"] == weights_fingerprint(job.output))


def train_and_draw(workdir: Path, stop: StopRequest) -> None:
    """`train`, and its metrics as curves.png."""
    train(workdir, stop)

    from worker.kto.curves import draw
    from worker.kto.journal import lines

    if os.environ.get("RANK", "0") == "0" and not (workdir / "curves.png").exists():
        draw(lines(workdir / "metrics.jsonl"), workdir / "curves.png")


if __name__ == "__main__":
    about = "Train the job in WORKDIR; called again, it continues where it was stopped."
    sys.exit(run("worker.kto.train", about, train_and_draw))
