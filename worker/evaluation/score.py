"""The scorer: `python -m worker.evaluation.score WORKDIR`, after the trainer.

Scores the holdout under the candidate (WORKDIR/output), the reference (the shipped checkpoint it was trained against)
and the ancestor (the project's very first base model), samples from all three (see `sampling`), and writes
samples.parquet and scores.json:

    rows, rows_desirable, rows_undesirable, rows_dropped, groups (distinct prompts)
    tokenizer                  a SHA-256; where it is equal, lengths in tokens can be compared
    rows_weight_desirable      summed row weights of each class, from the label policy; rows of weight 0 are left out
    rows_weight_undesirable
    auroc                      of r against the label, r = lp_candidate − lp_reference; ties count half
    accuracy                   share of rows where (r > z0) is the label
    margin                     mean β·r of desirable rows minus that of undesirable rows
    ece                        expected calibration error of σ(β(r − z0)), ten bins
    z0                         max(0, mean of r over mismatched pairs), in nats; an estimate of the candidate's drift,
                               which does not depend on row weights
    auroc_per_token            like auroc, of r divided by the number of tokens
    kl                         {nats_per_token, nats_per_completion, samples}: drift from the reference on completions
                               sampled from the candidate at temperature 1 for holdout prompts (k3 estimator)
    length                     {candidate_median, reference_median, ratio, holdout_median} in tokens: sampled from
                               both models on the same prompts, and of the completions in the holdout
    samples                    what the three models write: see docs/evaluation.md
    replay                     answers that users judged beside what the models write now: likewise
    few_shots                  the reference with examples before each prompt, if requested: see `few_shots`
    auroc_vs_ancestor          like auroc, against the ancestor
    shipped_auroc_vs_ancestor  the reference's; 0.5 by definition if the reference is the ancestor
    auroc_difference           the first minus the second, on the same resamples
    dumb_readers               {bag_of_words, length, reference, best, auroc_over_best}: see `dumb_readers`
    confidence, resamples, seconds

It also writes held_out_scores.parquet for comparisons of checkpoints: the log-ratio of each row (see
`app.checkpoints.held_out_scores`); suspicion.json for audits of the holdout's labels: {"completion_id",
"desirable", "suspicion"}, each a list with an item for each row (see `suspicion`), or empty if there are too few rows;
and probe.json, by which servers show that they serve the checkpoint (see `app.checkpoints.probe_file`).

A figure is {"value", "low", "high"}: the interval is a percentile bootstrap over prompts. Rows count by their weights:
weight 2 is the row twice. If the holdout gives no figure, all three are null and "reason" is the cause. kl is computed
from samples, which have no weights; length holds plain medians of samples and of rows, or nulls.

For any objective, r, z0 and the label are those of single rows, and the candidate is compared with the reference. Pairs
and objectives without a reference are scored in the same way, so their figures are comparable with KTO's.

Rows are read as in training: packed, prompts once for both completions, the head in chunks, if that does not change the
candidate's log-probs; otherwise padded, with a warning. All models are read in the same way, so equal models have equal
figures.

The scorer is deterministic under the recipe's seed; after an interruption it is simply run again, and so it is if
memory runs out (see `rows_at_once`). Its exit codes are the trainer's.
"""

import json
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from worker.evaluation.rows_at_once import RowsAtOnce, micro_batch_size_of
from worker.training.files.sealed import DamagedFile, replace_sealed, seal_of, verify, write_sealed
from worker.training.job import Job, read_job
from worker.training.machine.out_of_memory import is_out_of_memory
from worker.training.machine.process import StopRequest, TrainingRefusal, libraries_are_loaded, run, whatever_the_rows
from worker.training.watch.journal import Journal

if TYPE_CHECKING:
    from worker.evaluation.passes import Tell
    from worker.training.data.rows import Row
    from worker.training.forward.logprobs import Reading
    from worker.training.models.policy import Arithmetic


def score(workdir: Path, stop: StopRequest | None = None) -> None:
    """Scores WORKDIR/output.

    Raises `TrainingRefusal`, `OutOfMemory` if the next call will read fewer rows at once, or `Stopped` if `stop` is
    requested.
    """
    stop = stop or StopRequest()
    with stop.at_once(), closing(Journal(workdir)) as journal:
        job = read_job(workdir)
        if not any((job.output / name).is_file() for name in ("adapter_config.json", "config.json")):
            raise TrainingRefusal("output_missing", "WORKDIR/output holds no trained checkpoint: run the trainer first")
        try:
            verify(seal_of(job.output))
        except DamagedFile as damage:
            raise TrainingRefusal("output_damaged", f"{damage}: run the trainer again, which rebuilds it") from None
        at_once = RowsAtOnce.of(job)
        try:
            _score(job, journal, stop, at_once)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            raise at_once.too_many(job, error) from None


def _score(job: Job, journal: Journal, stop: StopRequest, at_once: RowsAtOnce) -> None:
    started = time.monotonic()
    workdir, recipe, settings = job.workdir, job.recipe, job.recipe.evaluation
    adapter = job.output if (job.output / "adapter_config.json").is_file() else None

    import numpy as np

    from app.checkpoints import held_out_scores
    from app.statistics import bootstrap, measures
    from worker.evaluation.dumb_readers import dumb_readers
    from worker.evaluation.few_shot_prompts import FewShotLimits, FewShotPrompts
    from worker.evaluation.few_shots import FewShots
    from worker.evaluation.passes import log_probs, sums
    from worker.evaluation.probe import ProbeReader
    from worker.evaluation.replay import replayed_prompts
    from worker.evaluation.reply_writer import SamplingBudget, WriterSettings
    from worker.evaluation.sampled_prompts import held_out_prompts, suite_prompts
    from worker.evaluation.sampling import Samples
    from worker.evaluation.suspicion import suspicions
    from worker.training.data import batches
    from worker.training.data.dropped import read_split
    from worker.training.data.tokenised import tokenizer_fingerprint
    from worker.training.models import policy
    from worker.training.reference import matched, mismatched

    libraries_are_loaded()
    policy.ask_for_determinism()
    arithmetic = policy.Arithmetic.of(recipe)
    context = policy.context_length(job.base)
    tokens = policy.load_tokens(job.base)
    max_length = min(recipe.max_length, context or recipe.max_length)
    vocabulary = policy.vocabulary(job.base)
    read = read_split(job, "holdout", tokens, max_length, vocabulary)
    rows = [row for row in read.rows if row.weight > 0]
    plan = batches.plan(rows, micro_batch_size_of(job), even_classes=False, seed=recipe.seed)
    own = [pair for block in plan.blocks for pair in matched(rows, block)]
    others = [pair for block in plan.blocks for pair in mismatched(rows, block, max_length)]
    held_out = held_out_prompts(job, read, rows, settings.kl_prompts)
    of_suites, missing = suite_prompts(workdir, tokens, max_length)
    replayed = replayed_prompts(job, tokens, max_length, vocabulary, settings.replay)

    in_order = [rows[row] for block in plan.blocks for row in block.rows]
    most = min(settings.kl_max_new_tokens, max(1, (context or max_length) - 1))
    limits = FewShotLimits(context or sys.maxsize, max_length, most, vocabulary)
    few_shots = FewShots(job, tokens, FewShotPrompts(job, tokens, read, in_order, [*held_out, *of_suites], limits))

    reference_is_ancestor = job.adapter is None and job.ancestor == job.base
    models = 2 if reference_is_ancestor else 3
    writing = WriterSettings(
        settings, recipe.seed, tokens, SamplingBudget(settings, models + few_shots.models),
        context=context, most=most, read_at_once=at_once.sampled, as_many_as_fit=at_once.halvings == 0,
        stop=stop.raise_if_requested,
    )  # fmt: skip
    samples = Samples(writing, [*held_out, *of_suites, *replayed], missing)
    probe = ProbeReader(tokens, context, arithmetic, stop.raise_if_requested)
    tell = _counter(journal, stop, models * (len(own) + samples.steps) + few_shots.steps)

    # One model in memory at a time.
    candidate = _load(job.base if adapter else job.output, adapter, arithmetic)
    probe.read("candidate", candidate)
    if adapter is not None:
        with candidate.disable_adapter():
            probe.read("base", candidate)
    read_as = _way(candidate, rows, max_length, job, arithmetic, journal)
    own_candidate, others_candidate = map(sums, log_probs(read_as(candidate), own, others, at_once.read, tell))
    samples.write("candidate", read_as(candidate), tell)
    del candidate
    reference = _load(job.base, job.adapter, arithmetic)
    if adapter is None:  # a server with full weights has loaded the earlier ones before
        probe.read("base", reference)
    own_reference, others_reference = map(sums, log_probs(read_as(reference), own, others, at_once.read, tell))
    samples.write("shipped", read_as(reference), tell)
    few_shots.measure(read_as(reference), samples, tell)
    del reference
    if reference_is_ancestor:
        own_ancestor = own_reference
        samples.same_as("ancestor", "shipped")
    else:
        ancestor = read_as(_load(job.ancestor, None, arithmetic))
        own_ancestor = sums(log_probs(ancestor, own, None, at_once.read, tell)[0])
        samples.write("ancestor", ancestor, tell)

    desirable_N = np.array([row.desirable for row in in_order], dtype=bool)
    paired_N = np.array([partner is not None for block in plan.blocks for partner in block.partners], dtype=bool)
    r_N = own_candidate - own_reference
    for name, lp_N in (("candidate", own_candidate), ("reference", own_reference), ("ancestor", own_ancestor)):
        if not np.isfinite(lp_N).all():
            odd = in_order[int(np.flatnonzero(~np.isfinite(lp_N))[0])].completion_id
            raise TrainingRefusal(
                "not_finite", f"the {name} gives NaN or infinite log-probs, first for {odd}: do not ship it"
            )
    z0 = max(0.0, float((others_candidate - others_reference)[paired_N].mean())) if paired_N.any() else 0.0
    lift_N = recipe.beta * (r_N - z0)

    lengths_N = np.array([len(row.completion) for row in in_order], dtype=np.int64)
    groups_N = bootstrap.group_numbers([row.prompt_key for row in in_order])
    weight_N = np.array([row.weight for row in in_order])
    over_prompts = bootstrap.Bootstrap(groups_N, weight_N, settings.bootstrap, settings.confidence, recipe.seed)
    absent = "the holdout has rows of one class only"
    candidate_auroc = measures.auroc(own_candidate - own_ancestor, desirable_N)
    shipped_auroc = (
        measures.constant(0.5) if reference_is_ancestor else measures.auroc(own_reference - own_ancestor, desirable_N)
    )
    scores = {
        "rows": len(rows),
        "rows_desirable": int(desirable_N.sum()),
        "rows_undesirable": int((~desirable_N).sum()),
        "rows_weight_desirable": float(weight_N[desirable_N].sum()),
        "rows_weight_undesirable": float(weight_N[~desirable_N].sum()),
        "rows_dropped": read.dropped,
        "dropped": read.reasons,
        "groups": len(set(groups_N.tolist())),
        "tokenizer": tokenizer_fingerprint(tokens),
        "auroc": over_prompts.interval(measures.auroc(r_N, desirable_N), absent),
        "auroc_per_token": {
            **over_prompts.interval(measures.auroc(r_N / lengths_N, desirable_N), absent),
            "groups": len(set(groups_N.tolist())),
        },
        "accuracy": over_prompts.interval(measures.mean((lift_N > 0) == desirable_N), absent),
        "margin": over_prompts.interval(measures.margin(recipe.beta * r_N, desirable_N), absent),
        "ece": over_prompts.interval(
            measures.calibration_error(0.5 * (1 + np.tanh(lift_N / 2)), desirable_N.astype(float)), absent
        ),
        "z0": z0,
        **samples.figures([len(row.completion) for row in rows]),
        **few_shots.figures(samples, own_reference, over_prompts, absent),
        "auroc_vs_ancestor": over_prompts.interval(candidate_auroc, absent),
        "shipped_auroc_vs_ancestor": over_prompts.interval(shipped_auroc, absent),
        "auroc_difference": over_prompts.interval(measures.difference(candidate_auroc, shipped_auroc), absent),
        "dumb_readers": dumb_readers(job, read, in_order, r_N, own_reference, over_prompts, absent),
        "confidence": settings.confidence,
        "resamples": settings.bootstrap,
        "seconds": time.monotonic() - started,
    }
    suspicion_N = suspicions(r_N, lengths_N, desirable_N, groups_N, recipe.seed)
    suspected = in_order if suspicion_N is not None else []
    judged = {
        "completion_id": [row.completion_id for row in suspected],
        "desirable": [row.desirable for row in suspected],
        "suspicion": suspicion_N.tolist() if suspicion_N is not None else [],
    }
    samples.keep(workdir / "samples.parquet")
    place_of = {id(read.rows[index]): place for place, index in read.places.items()}
    places = [place_of[id(row)] for row in in_order]
    of_rows = held_out_scores.HeldOutScores(places, groups_N, desirable_N, weight_N, r_N.astype(np.float64))
    part = workdir / f".{held_out_scores.FILE}.part"
    held_out_scores.write(part, of_rows)
    replace_sealed(part, workdir / held_out_scores.FILE)
    few_shots.keep(workdir, samples, own_reference, of_rows)
    probe.write(workdir)
    write_sealed(workdir / "suspicion.json", json.dumps(judged, allow_nan=False).encode())
    write_sealed(workdir / "scores.json", json.dumps(scores, indent=1, allow_nan=False).encode())


def _load(folder: Path, adapter: Path | None, arithmetic: "Arithmetic") -> Any:
    from worker.training.models import adapters, policy

    with whatever_the_rows(f"the weights in {folder}", "use a machine with more memory, or stop other processes"):
        model = policy.load_weights(folder, arithmetic.precision, arithmetic.device)
        return model if adapter is None else adapters.load_adapter(model, adapter)


def _way(
    candidate: Any, rows: Sequence["Row"], max_length: int, job: Job, arithmetic: "Arithmetic", journal: Journal
) -> Callable[[Any], "Reading"]:
    """Returns the way in which candidate, reference and ancestor are read.

    They differ in their weights alone, so a way that is correct for one is correct for all.
    """
    from worker.training.forward.logprobs import Reading
    from worker.training.forward.packed_or_padded import reading_of, tried

    reading = Reading.plain(candidate, arithmetic.precision)
    if rows and job.recipe.packing == "auto":
        reading = reading_of(candidate, tried(rows, max_length), arithmetic.precision)
        if not reading.packed:
            journal.warn(
                0,
                "padded",
                f"rows are padded, not packed, because {reading.padded_because}: scoring takes longer",
            )
    return partial(
        Reading,
        precision=arithmetic.precision,
        packed=reading.packed,
        chunked=reading.chunked,
        at_once=reading.at_once,
    )


def _counter(journal: Journal, stop: StopRequest, total: int) -> "Tell":
    """Returns a function that counts rows as read or sampled, of `total`, and raises `Stopped` if requested."""
    done = 0

    def tell(rows: int) -> None:
        nonlocal done
        done += rows
        journal.progress("evaluating", done, total)
        stop.raise_if_requested()

    return tell


if __name__ == "__main__":
    sys.exit(run("worker.evaluation.score", "Score what the trainer left in WORKDIR on the held-out rows.", score))
