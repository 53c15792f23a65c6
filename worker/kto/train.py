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
from typing import TYPE_CHECKING

from worker.kto.files import folder_atomically, weights_fingerprint, write_atomically
from worker.kto.job import Job, read_job
from worker.kto.journal import Journal
from worker.kto.process import Stopped, StopRequest, run
from worker.kto.schedule import learning_rate_at

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

    from worker.kto import batches, checkpoint, class_gradients, diagnosis, guards, models, preflight
    from worker.kto.measures import Measures
    from worker.kto.microbatch import Reader
    from worker.kto.objectives import OBJECTIVES
    from worker.kto.reference import reference_fingerprint
    from worker.kto.rows import read_pairs, read_rows

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
    read = read_rows(workdir / "snapshot", job.shards_of("train"), tokens, max_length, weigh_tokens=weigh_tokens)
    rows = read.rows
    pairs = read_pairs(workdir / "snapshot", job.pairs, read) if objective.data == "pairs" else []
    preflight.require_possible_rows(job, read, pairs, max_length)

    # The policy starts as the shipped checkpoint; optimizer and position continue where an earlier attempt was stopped.
    torch.manual_seed(recipe.seed)
    with ranks.together():
        policy = models.load_policy(job, arithmetic)
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

    # The fixed plan of micro-batches: which rows, and whose completion each is mismatched with.
    micro_batch_size = int(recipe.micro_batch_size)
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
    router_coefficient = models.router_coefficient(policy)
    reader = Reader(policy, rows, objective, recipe, arithmetic, max_length, ranks, router_coefficient)
    first_epoch = plan.steps(0, blocks_per_step, recipe.seed)[:total_steps]
    reference = reader.score(
        [block for step in first_epoch for block in step],
        workdir / "reference.safetensors",
        reference_fingerprint(job, arithmetic, max_length, by_token=objective.by_token),
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

    started = time.monotonic() - position.seconds
    running_2 = torch.tensor(position.running, dtype=torch.float64, device=device)

    def save_state(step: int, running: tuple[float, float]) -> None:
        if ranks.writes:
            now = checkpoint.Position(step, time.monotonic() - started, position.threads, running)
            checkpoint.save(state, now, job.identity, weights, optimizer)

    for step in range(position.step + 1, total_steps + 1):
        epoch, place = divmod(step - 1, steps_per_epoch)
        blocks = plan.steps(epoch, blocks_per_step, recipe.seed)[place]
        # The loss's denominator, known up front: rows of the whole step, or pairs.
        examples = sum(len(block.rows) for block in blocks) // (2 if objective.data == "pairs" else 1)
        measures = Measures(objective, recipe)
        class_norms: tuple[float | None, float | None] = (None, None)
        running_before = (float(running_2[0]), float(running_2[1]))
        step_started = time.monotonic()
        optimizer.zero_grad(set_to_none=True)
        for number, block in enumerate(blocks):
            if ranks.any(stop.requested):
                # What was accumulated is dropped; the step is taken again from the weights before it.
                save_state(step - 1, running_before)
                raise Stopped
            batch = reader.read(reader.share(block), reference, running_2)
            losses = objective.loss(batch.log_probs, recipe)
            with ranks.together():
                guards.require_finite(workdir, step, batch, losses)
            if step == 1:
                guards.assert_policy_is_reference(batch.log_probs, losses, recipe, arithmetic.precision)
            running_2 = running_2 if losses.running_2 is None else losses.running_2
            if number == 0 and step % class_gradients.EVERY == 1 and objective.data == "rows":
                class_norms = class_gradients.class_gradient_norms(
                    losses, batch.log_probs, list(weights.values()), ranks
                )
            loss = losses.loss_B.sum() / examples
            if batch.router_loss is not None:
                loss = loss + router_coefficient * batch.router_loss * len(losses.loss_B) / examples
            loss.backward()
            measures.add(batch.log_probs, losses, batch.forwards, [len(row.completion) for row in batch.members])

        ranks.sum_gradients(weights.values())
        gradient_norm = float(torch.nn.utils.clip_grad_norm_(weights.values(), recipe.max_gradient_norm))
        guards.require_finite_gradient(
            workdir, step, gradient_norm, [rows[row] for block in blocks for row in block.rows]
        )
        learning_rate = learning_rate_at(step, total_steps, recipe)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate
        optimizer.step()

        figures = measures.line(time.monotonic() - step_started, examples, ranks)
        figures |= {"gradient_norm": gradient_norm, "learning_rate": learning_rate}
        figures |= {"gradient_norm_desirable": class_norms[0], "gradient_norm_undesirable": class_norms[1]}
        figures["delta"] = float(running_2[0] / running_2[1]) if float(running_2[1]) > 0 else None
        journal.metric({"step": step, "total_steps": total_steps, "epoch": epoch + 1, **figures})
        journal.progress("training", step, total_steps)
        for finding in diagnosis.findings(journal.metrics, recipe):
            journal.warn(step, finding.code, finding.message)
        if step % recipe.save_every_steps == 0 and step < total_steps:
            save_state(step, (float(running_2[0]), float(running_2[1])))

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
        "seconds": time.monotonic() - started,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "ranks": ranks.world,
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
