"""The measured work, each time in a process of its own."""

import multiprocessing
import resource
import time
from collections.abc import Callable

from sqlalchemy.orm import Session

from app import malloc
from app.arrow_queries import arrow
from app.database import transaction
from app.labels import service as labels
from app.labels.policies import service as policies
from app.labels.quarantine import service as quarantine
from app.labels.whole_log import resolve as whole_log

PROJECT = "bench"


def read(session: Session, events: int) -> dict[str, float]:
    """Reads every column of the same rows."""
    rows = sum(batch.num_rows for batch in arrow(session, f"SELECT * FROM events WHERE project_id = '{PROJECT}'"))
    assert rows == events
    return {}


def compare(session: Session, events: int) -> dict[str, float]:
    """Compares the edits with their originals and stores the results, as a server does for new edits."""
    labels.log_of(session, PROJECT, policies.adopted(session, PROJECT).policy, events, keep=True)
    return {}


def resolve(session: Session, events: int) -> dict[str, float]:
    """Resolves labels, weights and reasons of every completion."""
    policy = policies.adopted(session, PROJECT).policy
    began = time.perf_counter()
    log = labels.log_of(session, PROJECT, policy, events)
    seconds = time.perf_counter() - began
    context = labels.context(session, PROJECT, policy, events)
    labelled = whole_log.resolve(policy, log, context)
    return {"seconds_reading_log": seconds, "labelled": labelled.completions["label"].drop_nulls().len()}


def guard(session: Session, events: int) -> dict[str, float]:
    """Resolves the same, and determines which actors and rows the quarantine leaves out."""
    policy = policies.adopted(session, PROJECT).policy
    log, context = labels.log_of(session, PROJECT, policy, events), labels.context(session, PROJECT, policy, events)
    labelled = whole_log.resolve(policy, log, context, judged=True)
    return {"left_out": len(quarantine.left_out(session, PROJECT, policy, labelled))}


def measured(work: Callable[[Session, int], dict[str, float]], events: int) -> dict[str, float]:
    """Runs the work in a new process; returns seconds, peak MB and the work's own figures."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measure, (work, events))


def _measure(work: Callable[[Session, int], dict[str, float]], events: int) -> dict[str, float]:
    malloc.settle()  # as servers and workers do
    with transaction() as session:
        before, began = time.process_time(), time.perf_counter()
        figures = work(session, events)
        seconds, cpu = time.perf_counter() - began, time.process_time() - before
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    return {"seconds": seconds, "processor_seconds": cpu, "peak_mb": peak} | figures
