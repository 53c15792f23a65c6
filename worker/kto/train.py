"""The trainer: `python -m worker.kto.train WORKDIR`.

Reads and writes one folder (docs/architecture.md, "WORKDIR"); knows no database, no network, no queue. `train` is the
whole run, top to bottom. torch and transformers are imported once the job has been read, so that a bad job is refused
at once.

Same WORKDIR, same machine, same number of threads: same bits on CPU, however often it was interrupted.
"""

import json
import sys
import time
from contextlib import closing
from pathlib import Path

from worker.kto.files import folder_atomically, weights_fingerprint, write_atomically
from worker.kto.job import Job, read_job
from worker.kto.journal import Journal
from worker.kto.process import StopRequest, run
from worker.kto.schedule import learning_rate_at


def train(workdir: Path, stop: StopRequest | None = None) -> None:
    """Train the job in `workdir`, continuing an interrupted one; a finished one is left as it is.

    Raises `Refusal` on anything an operator can mend, `Stopped` once the state is saved after `stop` was requested.
    """
    job = read_job(workdir)
    if _is_finished(job):
        return
    with closing(Journal(workdir)) as journal:
        _train(job, journal, stop or StopRequest())


def _train(job: Job, journal: Journal, stop: StopRequest) -> None:
    workdir, recipe = job.workdir, job.recipe
    journal.progress("loading", 0, 1)

    import torch

    from worker.kto import batches, checkpoint, diagnosis, guards, models
    from worker.kto.logprobs import Sequences, completion_log_probs
    from worker.kto.measures import Measures
    from worker.kto.objectives import OBJECTIVES, LogProbs
    from worker.kto.reference import matched, mismatched, reference_fingerprint, score_blocks
    from worker.kto.rows import read_rows

    # Rows and the fixed plan of micro-batches with their mismatched partners.
    models.ask_for_determinism()
    arithmetic = models.Arithmetic.of(recipe)
    device = arithmetic.device
    context = models.context_length(job.base)
    tokens = models.load_tokens(job.base)
    max_length = min(recipe.max_length, context or recipe.max_length)
    read = read_rows(workdir / "snapshot", job.shards_of("train"), tokens, max_length)
    read.require_both_classes()
    rows = read.rows
    plan = batches.plan(rows, recipe.micro_batch_size, even_classes=recipe.balance == "batch", seed=recipe.seed)
    blocks_per_step = recipe.batch_size // recipe.micro_batch_size
    steps_per_epoch = plan.steps_per_epoch(blocks_per_step)
    total_steps = min(recipe.epochs * steps_per_epoch, recipe.max_steps or recipe.epochs * steps_per_epoch)

    # The policy starts as the shipped checkpoint; optimizer and position continue where an earlier attempt was stopped.
    torch.manual_seed(recipe.seed)
    policy = models.load_policy(job, arithmetic)
    guards.require_tokens_in_vocabulary(rows, policy)
    weights = models.trained_weights(policy)
    optimizer = torch.optim.AdamW(
        [
            {"params": [w for w in weights.values() if w.ndim >= 2], "weight_decay": recipe.weight_decay},
            {"params": [w for w in weights.values() if w.ndim < 2], "weight_decay": 0.0},
        ],
        lr=float(recipe.learning_rate),
        betas=(recipe.adam_beta1, recipe.adam_beta2),
        eps=recipe.adam_epsilon,
    )
    journal.progress("loading", 1, 1)
    stop.raise_if_requested()

    # The reference: the policy scores the plan while it still is the shipped checkpoint. Only then is a state loaded.
    # An epoch takes every block once, so the first one needs all scores, or as many as max_steps lets it.
    first_epoch = plan.steps(0, blocks_per_step, recipe.seed)[:total_steps]
    reference = score_blocks(
        policy,
        rows,
        [block for step in first_epoch for block in step],
        max_length,
        arithmetic,
        workdir / "reference.safetensors",
        reference_fingerprint(job, arithmetic, max_length),
        stop,
        lambda done, total: journal.progress("referencing", done, total),
    )
    state = workdir / "state"
    passed_over: list[str] = []
    position = checkpoint.resume(state, job.identity, weights, optimizer, passed_over.append)
    position = position or checkpoint.Position(0, 0.0, torch.get_num_threads())
    journal.continue_after(position.step)
    for message in passed_over:
        journal.warn(position.step, "state_damaged", message)
    for finding in diagnosis.of_rows(read, plan, recipe, context):
        journal.warn(0, finding.code, finding.message)
    if position.threads != torch.get_num_threads():
        journal.warn(
            position.step,
            "threads",
            f"the run began with {position.threads} threads and continues with {torch.get_num_threads()}: "
            f"set OMP_NUM_THREADS={position.threads} if the weights must equal an uninterrupted run's bit for bit",
        )

    objective = OBJECTIVES[recipe.objective]
    started = time.monotonic() - position.seconds
    for step in range(position.step + 1, total_steps + 1):
        epoch, place = divmod(step - 1, steps_per_epoch)
        blocks = plan.steps(epoch, blocks_per_step, recipe.seed)[place]
        rows_of_step = sum(len(block.rows) for block in blocks)  # the loss's denominator, known up front
        measures = Measures()
        step_started = time.monotonic()
        optimizer.zero_grad(set_to_none=True)
        for block in blocks:
            if stop.requested:  # what was accumulated is dropped; the step is taken again from the weights before it
                before = checkpoint.Position(step - 1, time.monotonic() - started, position.threads)
                checkpoint.save(state, before, job.identity, weights, optimizer)
                stop.raise_if_requested()
            members = [rows[row] for row in block.rows]
            own, others = matched(rows, block), mismatched(rows, block, max_length)
            own_sequences, other_sequences = Sequences.of(own, device), Sequences.of(others, device)
            with torch.no_grad():
                policy_mismatched_B = completion_log_probs(policy, other_sequences, arithmetic.precision)
            log_probs = LogProbs(
                policy_B=completion_log_probs(policy, own_sequences, arithmetic.precision),
                reference_B=reference.log_probs(own, device),
                policy_mismatched_B=policy_mismatched_B,
                reference_mismatched_B=reference.log_probs(others, device),
                paired_B=torch.tensor([partner is not None for partner in block.partners], device=device),
                desirable_B=torch.tensor([row.desirable for row in members], device=device),
                weight_B=torch.tensor([row.weight for row in members], dtype=torch.float32, device=device),
            )
            losses = objective(log_probs, recipe)
            guards.require_finite(workdir, step, members, log_probs, losses)
            if step == 1:
                guards.assert_policy_is_reference(log_probs, losses, recipe, arithmetic.precision)
            (losses.loss_B.sum() / rows_of_step).backward()
            measures.add(log_probs, losses, (own_sequences, other_sequences), [len(row.completion) for row in members])

        gradient_norm = float(torch.nn.utils.clip_grad_norm_(weights.values(), recipe.max_gradient_norm))
        guards.require_finite_gradient(
            workdir, step, gradient_norm, [rows[row] for block in blocks for row in block.rows]
        )
        learning_rate = learning_rate_at(step, total_steps, recipe)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate
        optimizer.step()

        figures = measures.line(time.monotonic() - step_started)
        figures |= {"gradient_norm": gradient_norm, "learning_rate": learning_rate}
        journal.metric({"step": step, "total_steps": total_steps, "epoch": epoch + 1, **figures})
        journal.progress("training", step, total_steps)
        for finding in diagnosis.findings(journal.metrics, recipe):
            journal.warn(step, finding.code, finding.message)
        if step % recipe.save_every_steps == 0 and step < total_steps:
            now = checkpoint.Position(step, time.monotonic() - started, position.threads)
            checkpoint.save(state, now, job.identity, weights, optimizer)

    with folder_atomically(job.output) as folder:
        models.save_policy(policy, job, tokens, folder)
    summary = {
        "kind": "adapter" if recipe.method == "lora" else "weights",
        "weights_sha256": weights_fingerprint(job.output),
        "base_fingerprint": job.base_fingerprint,
        "steps": total_steps,
        "epochs": -(-total_steps // steps_per_epoch),
        "rows_trained": plan.rows,
        "rows_dropped": read.dropped,
        "rows_truncated": read.truncated,
        "tokens_cut": read.tokens_cut,
        "seconds": time.monotonic() - started,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "torch": torch.__version__,
        "threads": position.threads,
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


if __name__ == "__main__":
    sys.exit(
        run("worker.kto.train", "Train the job in WORKDIR; called again, it continues where it was stopped.", train)
    )
