"""`make study-kto`: KTO on the demo's support desk against those claims of its paper that fit a small machine.

Each condition is trained once per seed through a WORKDIR, as the service does it, and measured as the demo measures.
Finished trials are cached under --cache, so an interrupted study resumes. Progress goes to stderr; a table and, in the
last line, all figures as one JSON object go to stdout. A complete study is also written to --out, a part of one
(--only, --seeds) is not. Exit codes: 0 done, 2 invalid arguments, 130 interrupted.
"""

import argparse
import functools
import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, wait
from dataclasses import asdict
from pathlib import Path
from typing import Any

# Torch reads these when it is loaded. Parallel trials must not compete for cores.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from app.durable import write_atomically
from benchmarks.kto_study.conditions import CONDITIONS, Condition
from benchmarks.kto_study.desk import Desk, Size, made
from benchmarks.kto_study.summary import claims_of, document, machine, table
from benchmarks.kto_study.trial import PRESET, figures_of
from worker.training.machine.process import TrainingRefusal

ROOT = Path(__file__).resolve().parent.parent
SEEDS = (1, 2, 3)
#: The code that the figures depend on. A change to it invalidates the cache.
CODE = (
    "worker/training",
    "worker/demo",
    "worker/evaluation",
    "app/labels",
    "app/snapshots",
    "client/thumbwheel/wire/recipe.py",
)
#: Width of the table if stdout is not a terminal: wide enough that no cell is cut.
WIDTH = 140
#: Approximate share of a trial's time that the training takes. The rest is measurement.
TRAINING_SHARE = 0.75


def study(
    conditions: Sequence[Condition], seeds: Sequence[int], size: Size, cache: Path, pool: Executor, console: Console
) -> tuple[dict[str, Any], dict[int, dict[str, float]]]:
    """Runs each condition with each seed; returns the results, and the figures of each seed's base model."""
    code = code_hash()
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn(),
               TextColumn("left"), TimeRemainingColumn())  # fmt: skip
    with Progress(*columns, console=console, speed_estimate_period=1200) as bar:
        task = bar.add_task("support desks", total=None)
        folders = {seed: cache / f"desk-{key(code, seed, size)}" for seed in seeds}
        desks = dict(zip(seeds, pool.map(made, folders.values(), seeds, [size] * len(seeds)), strict=True))
        trials = {
            (condition.name, seed): cache / key(code, seed, size, condition)
            for condition in conditions
            for seed in seeds
        }
        by_name = {condition.name: condition for condition in conditions}
        running: dict[Future[dict[str, Any]], tuple[str, int]] = {
            pool.submit(trial, trials[name, seed], by_name[name], desks[seed], seed, size): (name, seed)
            for name, seed in trials
            if not (trials[name, seed] / "figures.json").exists()
        }
        bar.update(task, description="trials", total=len(running))
        waiting = set(running)
        while waiting:
            done, waiting = wait(waiting, timeout=1)
            for future in done:
                name, seed = running[future]
                console.print(f"seed {seed} {name}: {_summary(future.result())}", highlight=False)
            bar.update(task, completed=sum(share_done(trials[name_and_seed]) for name_and_seed in running.values()))
    results = {
        name_and_seed: json.loads((folder / "figures.json").read_bytes()) for name_and_seed, folder in trials.items()
    }
    return document(conditions, seeds, results), {seed: desk.base_figures for seed, desk in desks.items()}


def trial(folder: Path, condition: Condition, desk: Desk, seed: int, size: Size) -> dict[str, Any]:
    """Runs one condition with one seed; returns its figures and stores them as figures.json in `folder`.

    A training that is refused or that gives NaN is a result, too: its figures hold the reason as `failure`.
    """
    try:
        figures = figures_of(folder / "work", condition, desk, seed, size)
    except TrainingRefusal as refusal:
        figures = {"failure": str(refusal)}
    write_atomically(folder / "figures.json", json.dumps(figures).encode())
    shutil.rmtree(folder / "work", ignore_errors=True)
    return figures


def key(code: str, seed: int, size: Size, condition: Condition | None = None) -> str:
    """Returns the name of the folder in the cache for these inputs."""
    parts = [code, seed, asdict(size), condition and asdict(condition)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


@functools.cache
def code_hash() -> str:
    """Returns the SHA-256 of `CODE` and of the study's own code, as they were when the study began."""
    files = [file for path in CODE for file in sorted((ROOT / path).rglob("*.py")) or [ROOT / path]]
    files += sorted((ROOT / "benchmarks" / "kto_study").glob("*.py"))
    return hashlib.sha256(b"".join(hashlib.sha256(file.read_bytes()).digest() for file in files)).hexdigest()


def share_done(folder: Path) -> float:
    """Returns the finished share of a trial, from 0 to 1."""
    if (folder / "figures.json").exists():
        return 1.0
    try:
        last = json.loads((folder / "work" / "progress.jsonl").read_text("utf-8").splitlines()[-1])
    except (OSError, IndexError, ValueError):
        return 0.0
    return float(TRAINING_SHARE * last["done"] / max(1, last["total"])) if last["phase"] == "training" else 0.0


def _summary(figures: Mapping[str, Any]) -> str:
    if "failure" in figures:
        return str(figures["failure"])
    return f"{figures['good_share']:.1%} good, KL {figures['kl_nats']:.2f}, length × {figures['length_ratio']:.2f}"


def _set_up_worker() -> None:
    """Sets up a process of the pool: it has one thread, and ends at once if the study is interrupted."""
    import torch

    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def main() -> int:
    options = _options()
    conditions = [condition for condition in CONDITIONS if not options.only or condition.name in options.only]
    console, started = Console(stderr=True), time.monotonic()
    size = Size()
    pool = ProcessPoolExecutor(options.jobs, multiprocessing.get_context("spawn"), _set_up_worker)
    try:
        results, desks = study(conditions, options.seeds, size, options.cache, pool, console)
    except KeyboardInterrupt:
        pool.shutdown(wait=False, cancel_futures=True)
        sys.stderr.write("Interrupted. Run the same command again to resume.\n")
        return 130
    pool.shutdown()
    output = Console(width=None if sys.stdout.isatty() else WIDTH)
    output.print(table(results, desks))
    for claim in claims_of(results["conditions"]):
        output.print(f"The paper on {claim}", highlight=False)
    report = {
        "study": "kto",
        "preset": PRESET,
        "size": asdict(size),
        "seeds": options.seeds,
        "base_models": {str(seed): figures for seed, figures in desks.items()},
        **results,
        "machine": machine(options.jobs),
        "seconds": round(time.monotonic() - started, 1),  # of this call, without cached trials
    }
    if len(conditions) == len(CONDITIONS) and tuple(options.seeds) == SEEDS:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(options.out, (json.dumps(report, indent=1) + "\n").encode())
    sys.stdout.write(json.dumps(report) + "\n")
    return 0


def _options() -> argparse.Namespace:
    names = [condition.name for condition in CONDITIONS]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.study_kto", description=__doc__.partition("\n")[0])
    parser.add_argument("--only", type=_names, default=[], help=f"conditions, separated by commas: {', '.join(names)}")
    parser.add_argument("--seeds", type=_seeds, default=list(SEEDS), help="separated by commas (default 1,2,3)")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="number of parallel trials")
    parser.add_argument("--cache", type=Path, default=ROOT / "var" / "study-kto", help="folder of finished trials")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "study-kto.json")
    options = parser.parse_args()
    unknown = set(options.only) - set(names)
    if unknown:
        parser.error(f"--only: unknown condition {min(unknown)!r}. Choose from {', '.join(names)}")
    if not 1 <= len(set(options.seeds)) <= 10 or len(set(options.seeds)) != len(options.seeds):
        parser.error("--seeds: give between 1 and 10 seeds, each once")
    if options.jobs < 1:
        parser.error(f"--jobs: expected 1 or more, got {options.jobs}")
    return options


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def _seeds(text: str) -> list[int]:
    return [int(seed) for seed in text.split(",") if seed]


if __name__ == "__main__":
    sys.exit(main())
