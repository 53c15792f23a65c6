"""Trains a language model on feedback: `python -m worker.training.train WORKDIR`.

`train` is a whole run; `_take_steps` is its loop: forward, loss, backward, clip, step, measure, save.

Supports:
    - objectives that learn from labelled rows (KTO, BCO, …), from desirable rows alone (SFT) or from pairs (DPO, …);
      the equations are in `worker.training.objectives`
    - all weights, or a LoRA adapter; a shipped adapter is continued, or merged first where all weights are trained
    - micro-batches whose gradients add up to that of the whole batch, whatever their sizes: the loss is divided by the
      rows (or pairs) of the whole step, which are known before the first of them
    - float32, or bfloat16 arithmetic over float32 weights; packed rows, activations computed twice, compiled layers
    - several processes that train one policy (`torchrun`)
    - stopping at any micro-batch and continuing from the last training checkpoint

Assumes:
    - WORKDIR is laid out as docs/workdir.md says, and no other process writes there; no database, network or queue is
      needed
    - the policy starts as the shipped checkpoint, so that it is the reference until the first update. It scores the
      whole plan then, and no second model is loaded
    - machine, library versions and number of threads are the same where a continued run is to have the bits of an
      uninterrupted one on a CPU
    - each process holds the whole policy

Raises:
    TrainingRefusal  an operator can mend the cause: a job, recipe, snapshot or model that cannot be trained, or a
                     number that is not finite
    OutOfMemory      the micro-batch does not fit into memory; with fewer rows it may
    Stopped          the run was stopped; its state is saved
    AssertionError   an invariant does not hold, such as r = 0 before the first update: a fault of the trainer

torch and transformers are imported once the job has been read, so that a bad job is refused at once.
"""

import json
import os
import sys
import time
from contextlib import closing
from dataclasses import replace
from itertools import chain, tee
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.prefetch import prepared_ahead
from worker.training.files.sealed import is_sound, read_cache
from worker.training.job import Job, read_job
from worker.training.machine.out_of_memory import is_out_of_memory, remedies, smaller
from worker.training.machine.process import OutOfMemory, Stopped, StopRequest, first_line, libraries_are_loaded, run
from worker.training.watch.journal import Journal

if TYPE_CHECKING:
    from thumbwheel.wire.recipe import Recipe

    from worker.training.microbatch import Collator
    from worker.training.prepare import Start
    from worker.training.reference import ReferenceScores
    from worker.training.state_saver import StateSaver
    from worker.training.training_run import TrainingRun
    from worker.training.watch.drift import DriftChecks

#: Micro-batches that are prepared in advance. More would hold memory and gain nothing, since preparation is short.
AHEAD = 2


def train(workdir: Path, stop: StopRequest | None = None) -> None:
    """Trains the job in `workdir`, continuing an interrupted one; a finished one is left as it is.

    Raises `TrainingRefusal`, `OutOfMemory`, `Stopped`.
    """
    stop = stop or StopRequest()
    with stop.at_once():
        job = read_job(workdir)
        if is_finished(job):
            return

        from worker.training.machine.ranks import Ranks

    with Ranks.join() as ranks, closing(Journal(workdir, writes=ranks.writes)) as journal:
        with stop.at_once():
            journal.progress("loading", 0, 1)

            from worker.training.prepare import prepared
            from worker.training.training_run import TrainingRun

            libraries_are_loaded()
            start = prepared(job, ranks)
            journal.progress("loading", 1, 1)
        stop.raise_if_requested()
        try:
            _train(TrainingRun.planned(job, start, journal, ranks, stop))
        except Exception as error:
            if is_out_of_memory(error):
                raise _too_many_rows(job.recipe, start, error) from None
            raise


def _train(training: "TrainingRun") -> None:
    """Scores the reference, takes the steps that are left, and writes the output."""
    from worker.training.microbatch import Collator
    from worker.training.off_policy import off_policy
    from worker.training.reference_scoring import scored_reference
    from worker.training.state_saver import StateSaver, resumed
    from worker.training.training_output import write_output
    from worker.training.watch.drift import DriftChecks
    from worker.training.watch.notices_at_start import notices_at_start

    start, journal = training.start, training.journal
    # The policy scores the plan while it still is the shipped checkpoint. Only then is a saved state loaded.
    collator = Collator(start.reading, start.read.rows, training.recipe, start.max_length, training.ranks)
    reference = scored_reference(training, collator)
    writers = off_policy(training, reference)
    if writers is not None and training.recipe.behaviour_correction:
        collator = replace(collator, rows=writers.corrected(collator.rows))
    drift = DriftChecks(training)
    drift.begin()
    position, passed_over = resumed(training)
    journal.continue_after(position.step)
    for notice in notices_at_start(training, writers, position, passed_over):
        journal.warn(notice.step, notice.code, notice.message, again=notice.again)
    saver = StateSaver(training, position)
    if position.unfinished is not None:
        _measure(training, drift, saver, position.step, position.unfinished, position.running)
        saver.save_if_due(position.step, position.running)
    _take_steps(training, collator, reference, drift, saver)
    if training.ranks.writes:
        write_output(training, reference, writers, saver)


def _take_steps(
    training: "TrainingRun",
    collator: "Collator",
    reference: "ReferenceScores",
    drift: "DriftChecks",
    saver: "StateSaver",
) -> None:
    """Takes the optimizer steps that are left: forward, loss, backward, clip, step, measure, save.

    On a GPU the host waits once in a step, after queueing it; more often in the first one, for drift and class norms.
    """
    import torch

    from worker.training.schedule import learning_rate_at
    from worker.training.watch import class_gradients, guards
    from worker.training.watch.step_metrics import Measures

    start, recipe, ranks, workdir = training.start, training.recipe, training.ranks, training.job.workdir
    objective, reading, weights, optimizer = start.objective, start.reading, start.weights, start.optimizer
    running, total_steps = saver.resumed_at.running, training.total_steps

    steps, ahead = tee(training.steps_after(saver.resumed_at.step))
    batches = prepared_ahead(lambda block: collator.collate(block, reference), chain.from_iterable(ahead), depth=AHEAD)
    with closing(batches):
        for step, blocks in enumerate(steps, saver.resumed_at.step + 1):
            # The denominator of the loss is known before the first micro-batch: rows of the whole step, or pairs.
            rows = sum(len(block.rows) for block in blocks)
            examples = rows // (2 if objective.data == "pairs" else 1)
            measures, watch = Measures(objective, recipe), guards.Watch(workdir, step)
            class_norms: tuple[float | None, float | None] = (None, None)
            running_2 = torch.tensor(running, dtype=torch.float64).to(start.arithmetic.device)
            began = time.monotonic()
            optimizer.zero_grad(set_to_none=True)
            for number, block in enumerate(blocks):
                if training.stop_requested():
                    saver.save(step - 1, running)  # without the gradients: the whole step is taken again
                    raise Stopped
                # Forward.
                batch = next(batches)
                own, other = reading.forward(batch.inputs, router_loss=start.router_coefficient > 0)
                log_probs = batch.log_probs(own, other, running_2 if objective.running else None, ranks)
                router_loss = None if own.router is None else own.router.share(own.router.choices.over(ranks))
                # Loss.
                losses = objective.loss(log_probs, recipe)
                watch.see(batch, log_probs, losses)
                if step == 1:
                    with ranks.together():
                        watch.require_finite()
                    guards.assert_policy_is_reference(log_probs, losses, recipe, start.arithmetic.precision)
                if losses.running_2 is not None:
                    running_2 = losses.running_2
                if number == 0 and step % class_gradients.EVERY == 1 and objective.data == "rows":
                    class_norms = class_gradients.class_gradient_norms(losses, log_probs, [*weights.values()], ranks)
                loss = losses.loss_B.sum() / examples
                if router_loss is not None:
                    loss = loss + start.router_coefficient * router_loss * len(block.rows) / rows
                # Backward.
                loss.backward()
                measures.add(log_probs, losses, (own, other), batch.completion_lengths)
            del batch, own, other, log_probs, router_loss, losses, loss  # drift needs the memory

            # Clip. From here on the host waits for the device.
            ranks.sum_gradients(weights.values())
            norm = torch.nn.utils.clip_grad_norm_(weights.values(), recipe.max_gradient_norm)
            with ranks.together():
                watch.require_finite()
            gradient_norm = float(norm)
            members = [collator.rows[row] for block in blocks for row in block.rows]
            guards.require_finite_gradient(workdir, step, gradient_norm, members)
            totals = measures.totals(ranks)
            total, count = running_2.tolist()
            running = (total, count)

            # Step.
            learning_rate = learning_rate_at(step, total_steps, recipe)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate
            optimizer.step()

            # Measure.
            epoch = (step - 1) // training.steps_per_epoch + 1
            figures: dict[str, Any] = {"step": step, "total_steps": total_steps, "epoch": epoch}
            figures |= measures.line(totals, time.monotonic() - began, examples)
            figures |= {"gradient_norm": gradient_norm, "learning_rate": learning_rate}
            figures |= {"gradient_norm_desirable": class_norms[0], "gradient_norm_undesirable": class_norms[1]}
            figures["delta"] = total / count if count > 0 else None
            _measure(training, drift, saver, step, figures, running)

            # Save.
            saver.save_if_due(step, running)


def _measure(
    training: "TrainingRun",
    drift: "DriftChecks",
    saver: "StateSaver",
    step: int,
    figures: dict[str, Any],
    running: tuple[float, float],
) -> None:
    """Writes the figures of a step that was taken, with its drift, and warns of what they show.

    Raises `Stopped` where the run is to stop while drift is measured; the state is saved, with the figures.
    """
    from worker.training.watch import diagnosis

    journal = training.journal
    try:
        line = figures | drift.after(step)
    except Stopped:
        saver.save(step, running, unfinished=figures)
        raise
    journal.metric(line)
    journal.progress("training", step, training.total_steps)
    for finding in diagnosis.findings(journal.metrics, training.recipe):
        journal.warn(step, finding.code, finding.message)


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


def is_finished(job: Job) -> bool:
    """Returns whether output/ already holds what this very job trains."""
    summary = read_cache(job.workdir / "training.json")
    return summary is not None and json.loads(summary)["identity"] == job.identity and is_sound(job.output)


def train_and_draw(workdir: Path, stop: StopRequest) -> None:
    """Trains as `train` does, and draws the metrics into curves.png."""
    train(workdir, stop)

    from worker.training.watch.curves import draw
    from worker.training.watch.journal import lines

    if os.environ.get("RANK", "0") == "0" and not (workdir / "curves.png").exists():
        draw(lines(workdir / "metrics.jsonl"), workdir / "curves.png")


if __name__ == "__main__":
    about = "Train the job in WORKDIR; called again, it continues where it was stopped."
    sys.exit(run("worker.training.train", about, train_and_draw))
