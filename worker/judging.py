"""Lets the configured judge decide what a run's suites leave to one, and compare the candidate with the shipped model.

The comparison is of what both write for held-out prompts; then the judge compares the replies of both to replayed
prompts with the answers that users disliked or liked:

    in   WORKDIR/samples.parquet       the greedy samples for held-out and replayed prompts
    out  WORKDIR/judge_scores.json     {"model", "pairs", "missing", "unchanged", "win_share", "position_consistency",
                                       "missing_reasons", "requests", "tokens", "from_cache", "budget_spent"}, and with
                                       replayed prompts "replay", see `app.checkpoints.replay.figures`
         WORKDIR/judge-answers/        the answers so far, from which the next attempt continues

Without a judge or without samples nothing is done. Whatever the judge does not say is counted as missing; nothing that
it does can fail a run. No torch in this process.
"""

import hashlib
import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from app import settings
from app.checkpoints.replay.figures import MODELS, judged_figures_of
from app.checkpoints.samples.files import REPLAYED
from app.errors import StaleLease, ThumbwheelError
from app.suites.assertions import Evidence
from app.suites.evidence import EvidenceSource
from app.suites.figures import Intervals
from app.suites.grading import judge_tasks_of
from app.suites.judge.configured_judge import judge_of
from app.suites.judge.judge import Judge
from app.suites.judge.preference import CONFIDENCE, RESAMPLES, SEED, JudgedPair, figures_of
from app.suites.samples import SuiteSample
from worker.children.heartbeat import Heartbeat
from worker.children.processes import Ended, heed
from worker.evaluation.suites import EvidenceOf, nothing
from worker.training.files.sealed import is_sound, write_sealed

log = logging.getLogger(__name__)

SAMPLES, JUDGE_SCORES, ANSWERS = "samples.parquet", "judge_scores.json", "judge-answers"
COLUMNS = ["source", "decoding", "model", "group", "prompt", "completion"]
OF_REPLAYS = ["source", "completion_id", "model", "prompt", "completion", "finished", "answer"]
#: Pairs in work at once.
CONCURRENCY = 4
POLL_SECONDS = 0.2
CUT_OFF = JudgedPair(None, missing="the reply was cut off: raise evaluation.kl_max_new_tokens")


class OutputPair(NamedTuple):
    """Two outputs for a prompt, of which the judge prefers one. `prompt`: JSON of a text or of a chat."""

    prompt: str
    output: str
    other: str


class SampledPair(NamedTuple):
    """The candidate's output for a prompt against the shipped checkpoint's."""

    group: str
    outputs: OutputPair


class ReplayPairs(NamedTuple):
    """An answer that users judged: of each of `MODELS` its reply against the answer; None if the reply was cut off."""

    desirable: bool
    outputs: Mapping[str, OutputPair | None]


@contextmanager
def judge_of_suites(workdir: Path, heart: Heartbeat) -> Iterator[EvidenceOf]:
    """Yields a function that asks the judge what the assertions about an output need; it heeds the heartbeat meanwhile.

    Without a judge such assertions are undecided. The answers are kept in WORKDIR and count against the run's budget.
    """
    try:
        judge = judge_of(settings.current(), workdir / ANSWERS)
    except ThumbwheelError as error:
        log.warning("run %s: its suites have no judge: %s", heart.lease.run_id, error.message)
        judge = None
    if judge is None:
        yield nothing
        return
    source = EvidenceSource(judge=judge)
    executor = ThreadPoolExecutor(1, thread_name_prefix="judge")

    def evidence_of(sample: SuiteSample, output: str) -> Evidence:
        if not judge_tasks_of(sample.test, output):
            return nothing(sample, output)
        answer = executor.submit(source.of, sample.test, output, sample.messages())
        while wait([answer], POLL_SECONDS).not_done:
            heed(heart)
        return answer.result()

    try:
        yield evidence_of
    finally:
        executor.shutdown(wait=False, cancel_futures=True)
        source.close()


def judge_samples(workdir: Path, heart: Heartbeat) -> None:
    """Writes judge_scores.json if there is a judge. Raises `Cancelled`, `Left` and `StaleLease`, and nothing else."""
    try:
        judge = judge_of(settings.current(), workdir / ANSWERS)
        if judge is None:
            return
        try:
            if not is_sound(workdir / SAMPLES):
                log.info("run %s: no samples, so nothing is judged", heart.lease.run_id)
                return
            pairs, replays = pairs_in(workdir / SAMPLES), replays_in(workdir / SAMPLES)
            judgements = _judged(judge, [pair.outputs for pair in pairs], heart)
            # Only then the replays: a budget that does not suffice for all judges as many pairs as without a replay.
            of_replays = [outputs for replay in replays for outputs in replay.outputs.values() if outputs is not None]
            judgements |= _judged(judge, [outputs for outputs in of_replays if outputs not in judgements], heart)
        finally:
            judge.close()
        judged = [judgements[pair.outputs] for pair in pairs]
        scores = {**figures_of(judged, [pair.group for pair in pairs]), **judge.usage()}
        if replays:
            scores["replay"] = _figures_of_replays(replays, judgements)
        write_sealed(workdir / JUDGE_SCORES, json.dumps(scores, indent=1, ensure_ascii=False).encode())
    except (Ended, StaleLease):
        raise
    except Exception:
        log.exception("run %s: its samples were not judged", heart.lease.run_id)
        return
    log.info(
        "run %s: %d pairs judged, %d missing, %d requests", heart.lease.run_id, len(pairs), scores["missing"],
        scores["requests"],
    )  # fmt: skip


def pairs_in(samples: Path) -> list[SampledPair]:
    """Returns the pairs in an order that is random but always the same, so that a budget judges a fair part of them."""
    table = pq.read_table(samples, columns=COLUMNS)
    chosen = table.filter(
        pc.and_(pc.equal(table["source"], "holdout"), pc.equal(table["decoding"], "greedy"))
    ).to_pylist()
    written: dict[tuple[str, str], dict[str, str]] = {}
    for row in chosen:
        written.setdefault((row["group"], row["prompt"]), {})[row["model"]] = row["completion"]
    return [
        SampledPair(group, OutputPair(prompt, by_model["candidate"], by_model["shipped"]))
        for (group, prompt), by_model in sorted(written.items(), key=lambda item: _shuffled(item[0]))
        if by_model.keys() >= {"candidate", "shipped"}
    ]


def replays_in(samples: Path) -> list[ReplayPairs]:
    """Returns the replayed answers in an order like that of the pairs; none of a file of an earlier version."""
    if "answer" not in pq.read_schema(samples).names:
        return []
    table = pq.read_table(samples, columns=OF_REPLAYS)
    replayed = table.filter(pc.is_in(table["source"], pa.array(REPLAYED, pa.string()))).to_pylist()
    written: dict[tuple[str, str], dict[str, OutputPair | None]] = {}
    for row in replayed:
        whole = OutputPair(row["prompt"], row["completion"].strip(), row["answer"].strip())
        written.setdefault((row["source"], row["completion_id"]), {})[row["model"]] = whole if row["finished"] else None
    return [
        ReplayPairs(source == "liked", {model: by_model[model] for model in MODELS})
        for (source, _), by_model in sorted(written.items(), key=lambda item: _shuffled(item[0]))
    ]


def _judged(judge: Judge, pairs: Iterable[OutputPair], heart: Heartbeat) -> dict[OutputPair, JudgedPair]:
    """Returns the judgement of each pair; heeds the heartbeat while it waits."""
    executor = ThreadPoolExecutor(CONCURRENCY, thread_name_prefix="judge")
    try:
        futures = {
            each: executor.submit(judge.compare, json.loads(each.prompt), each.output, each.other)
            for each in dict.fromkeys(pairs)
        }
        waiting: set[Future[JudgedPair]] = set(futures.values())
        while waiting:
            heed(heart)
            waiting = wait(waiting, POLL_SECONDS).not_done
        return {each: future.result() for each, future in futures.items()}
    finally:
        executor.shutdown(wait=False, cancel_futures=True)


def _figures_of_replays(replays: Sequence[ReplayPairs], judgements: Mapping[OutputPair, JudgedPair]) -> dict[str, Any]:
    def judgement(outputs: OutputPair | None) -> JudgedPair:
        return CUT_OFF if outputs is None else judgements[outputs]

    return judged_figures_of(
        [replay.desirable for replay in replays],
        {model: [judgement(replay.outputs[model]) for replay in replays] for model in MODELS},
        Intervals(RESAMPLES, CONFIDENCE, SEED),
    )


def _shuffled(key: tuple[str, str]) -> bytes:
    return hashlib.sha256("\n".join(key).encode()).digest()
