"""Runs trials in parallel processes and caches their figures, so that an interrupted study resumes.

A trial has a folder in the cache. Its name is a hash of everything that determines the figures. A folder with
figures.json holds a finished trial, which is not repeated; one with work/ holds the WORKDIR of an interrupted one.
"""

import functools
import hashlib
import json
import multiprocessing
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from app.durable import write_atomically
from worker.training.machine.process import TrainingRefusal

ROOT = Path(__file__).resolve().parents[2]
#: Approximate share of a trial's time that the training takes. The rest is measurement.
TRAINING_SHARE = 0.75

Figures = dict[str, Any]
Results = TypeVar("Results")


@dataclass(frozen=True)
class Trial:
    """A function that is called with the folder of its WORKDIR and `arguments`, and returns figures as JSON."""

    name: str
    folder: Path
    function: Callable[..., Figures]
    arguments: tuple[Any, ...]
    cost: float = 1.0  # expected time, in any unit

    @property
    def finished(self) -> bool:
        return (self.folder / "figures.json").exists()

    @property
    def figures(self) -> Figures:
        """The figures of a finished trial."""
        content: Figures = json.loads((self.folder / "figures.json").read_bytes())
        return content

    def share_done(self) -> float:
        """Returns the finished share, from 0 to 1."""
        if self.finished:
            return 1.0
        try:
            last = json.loads((self.folder / "work" / "progress.jsonl").read_text("utf-8").splitlines()[-1])
        except (OSError, IndexError, ValueError):
            return 0.0
        return float(TRAINING_SHARE * last["done"] / max(1, last["total"])) if last["phase"] == "training" else 0.0


def run(trial: Trial) -> Figures:
    """Returns the figures of a trial and stores them as figures.json; the WORKDIR is removed.

    A training that is refused or that gives NaN is a result, too: its figures hold the reason as `failure`.
    """
    try:
        figures = trial.function(trial.folder / "work", *trial.arguments)
    except TrainingRefusal as refusal:
        figures = {"failure": str(refusal)}
    trial.folder.mkdir(parents=True, exist_ok=True)
    write_atomically(trial.folder / "figures.json", json.dumps(figures).encode())
    shutil.rmtree(trial.folder / "work", ignore_errors=True)
    return figures


def finish(
    trials: Sequence[Trial], pool: Executor, bar: Progress, description: str, summary: Callable[[Figures], str]
) -> None:
    """Runs the trials that are not finished, the most expensive first, and reports each with its `summary`."""
    task = bar.add_task(description, total=sum(trial.cost for trial in trials))
    unfinished = sorted((trial for trial in trials if not trial.finished), key=lambda trial: -trial.cost)
    running: dict[Future[Figures], Trial] = {pool.submit(run, trial): trial for trial in unfinished}
    waiting = set(running)
    while waiting:
        done, waiting = wait(waiting, timeout=1)
        for future in done:
            trial = running[future]
            bar.console.print(f"{trial.name}: {summary(future.result())}", highlight=False)
        bar.update(task, completed=sum(trial.cost * trial.share_done() for trial in trials))
    bar.update(task, completed=sum(trial.cost for trial in trials))


def progress_bar(console: Console) -> Progress:
    """Returns a progress bar with the remaining time, estimated from the last 20 minutes."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn(),
               TextColumn("left"), TimeRemainingColumn())  # fmt: skip
    return Progress(*columns, console=console, speed_estimate_period=1200)


def summary_line(figures: Figures) -> str:
    if "failure" in figures:
        return str(figures["failure"])
    return f"{figures['good_share']:.1%} good, KL {figures['kl_nats']:.2f}, length × {figures['length_ratio']:.2f}"


def key(*parts: Any) -> str:
    """Returns the name of the folder in the cache for these inputs."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


@functools.cache
def code_hash(*paths: str) -> str:
    """Returns the SHA-256 of the Python files at `paths`, relative to the repository, when the study began."""
    files = [file for path in paths for file in sorted((ROOT / path).rglob("*.py")) or [ROOT / path]]
    return hashlib.sha256(b"".join(hashlib.sha256(file.read_bytes()).digest() for file in files)).hexdigest()


def pool_of(jobs: int) -> ProcessPoolExecutor:
    """Returns a pool of processes with one thread each, which end at once if the study is interrupted."""
    return ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), _set_up_worker)


def finished(pool: ProcessPoolExecutor, study: Callable[[], Results]) -> Results | None:
    """Returns the results of a study that runs in `pool`; None if it is interrupted, which a line on stderr says."""
    try:
        results = study()
    except KeyboardInterrupt:
        pool.shutdown(wait=False, cancel_futures=True)
        sys.stderr.write("Interrupted. Run the same command again to resume.\n")
        return None
    pool.shutdown()
    return results


def _set_up_worker() -> None:
    import torch

    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
