"""Lets the configured judge decide what a run's suites leave to one, and compare the candidate with the shipped model.

The comparison is of what both write for held-out prompts:

    in   WORKDIR/samples.parquet       the greedy samples for held-out prompts
    out  WORKDIR/judge_scores.json     {"model", "pairs", "missing", "unchanged", "win_share", "position_consistency",
                                       "missing_reasons", "requests", "tokens", "from_cache", "budget_spent"}
         WORKDIR/judge-answers/        the answers so far, from which the next attempt continues

Without a judge or without samples nothing is done. Whatever the judge does not say is counted as missing; nothing that
it does can fail a run. No torch in this process.
"""

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.compute as pc
import pyarrow.parquet as pq

from app import settings
from app.errors import StaleLease, ThumbwheelError
from app.suites.assertions import Evidence
from app.suites.evidence import EvidenceSource
from app.suites.grading import judge_tasks_of
from app.suites.judge.configured_judge import judge_of
from app.suites.judge.judge import Judge
from app.suites.judge.preference import JudgedPair, figures_of
from app.suites.samples import SuiteSample
from worker.children.heartbeat import Heartbeat
from worker.children.processes import Ended, heed
from worker.evaluation.suites import EvidenceOf, nothing
from worker.training.files.sealed import is_sound, write_sealed

log = logging.getLogger(__name__)

SAMPLES, JUDGE_SCORES, ANSWERS = "samples.parquet", "judge_scores.json", "judge-answers"
COLUMNS = ["source", "decoding", "model", "group", "prompt", "completion"]
#: Pairs in work at once.
CONCURRENCY = 4
POLL_SECONDS = 0.2


class SampledPair(NamedTuple):
    """The outputs of both models for a prompt, a text or a chat."""

    group: str
    prompt: str | Sequence[Mapping[str, Any]]
    candidate: str
    shipped: str


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
            pairs = pairs_in(workdir / SAMPLES)
            judged = _judged(judge, pairs, heart)
        finally:
            judge.close()
        scores = {**figures_of(judged, [pair.group for pair in pairs]), **judge.usage()}
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
        SampledPair(group, _prompt(prompt), by_model["candidate"], by_model["shipped"])
        for (group, prompt), by_model in sorted(written.items(), key=lambda item: _shuffled(item[0]))
        if by_model.keys() >= {"candidate", "shipped"}
    ]


def _judged(judge: Judge, pairs: Sequence[SampledPair], heart: Heartbeat) -> list[JudgedPair]:
    """Returns the judgement of each pair; heeds the heartbeat while it waits."""
    executor = ThreadPoolExecutor(CONCURRENCY, thread_name_prefix="judge")
    try:
        futures = [executor.submit(judge.compare, pair.prompt, pair.candidate, pair.shipped) for pair in pairs]
        waiting: set[Future[JudgedPair]] = set(futures)
        while waiting:
            heed(heart)
            waiting = wait(waiting, POLL_SECONDS).not_done
        return [future.result() for future in futures]
    finally:
        executor.shutdown(wait=False, cancel_futures=True)


def _prompt(text: str) -> str | list[Mapping[str, Any]]:
    """Returns the prompt that `text` holds as JSON."""
    prompt: str | list[Mapping[str, Any]] = json.loads(text)
    return prompt


def _shuffled(key: tuple[str, str]) -> bytes:
    return hashlib.sha256("\n".join(key).encode()).digest()
