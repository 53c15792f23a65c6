"""`make study-kto`: KTO on the demo's support desk against those claims of its paper that fit a small machine.

Each condition is trained once per seed through a WORKDIR, as the service does it, and measured as the demo measures.
What is finished is kept under --cache, so an interrupted study goes on where it was. Tells on stderr how it goes; on
stdout come a table and, in the last line, all figures as one JSON object. A whole study goes to --out as well, a part
of one (--only, --seeds) does not. Exit codes: 0 done, 2 the arguments make no study, 130 interrupted.
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

# Read when torch is loaded: two trials side by side must not take each other's cores.
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
#: What the figures depend on: another code has another place in the cache.
CODE = (
    "worker/training",
    "worker/demo",
    "worker/evaluation",
    "app/labels",
    "app/snapshots",
    "client/thumbwheel/wire/recipe.py",
)
#: Columns of the table where nobody watches: in a file nothing needs to be cut.
WIDTH = 140
#: Of a trial's time, about what the training takes; the rest is measuring.
TRAINING_SHARE = 0.75


def study(
    conditions: Sequence[Condition], seeds: Sequence[int], size: Size, cache: Path, pool: Executor, console: Console
) -> tuple[dict[str, Any], dict[int, dict[str, float]]]:
    """Try each condition with each seed. The document of what was found, and the figures of each seed's base model."""
    code = code_hash()
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn(),
               TextColumn("left"), TimeRemainingColumn())  # fmt: skip
    with Progress(*columns, console=console, speed_estimate_period=1200) as bar:
        task = bar.add_task("support desks", total=None)
        folders = {seed: cache / f"desk-{key(code, seed, size)}" for seed in seeds}
        desks = dict(zip(seeds, pool.map(made, folders.values(), seeds, [size] * len(seeds)), strict=True))
        trials = {(one.name, seed): cache / key(code, seed, size, one) for one in conditions for seed in seeds}
        by_name = {one.name: one for one in conditions}
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
                console.print(f"seed {seed} {name}: {_told(future.result())}", highlight=False)
            bar.update(task, completed=sum(share_done(trials[it]) for it in running.values()))
    results = {it: json.loads((folder / "figures.json").read_bytes()) for it, folder in trials.items()}
    return document(conditions, seeds, results), {seed: desk.base_figures for seed, desk in desks.items()}


def trial(folder: Path, condition: Condition, desk: Desk, seed: int, size: Size) -> dict[str, Any]:
    """The figures of one condition and seed, kept as figures.json in `folder`; a training that is refused or that
    gives NaN is a finding too.
    """
    try:
        figures = figures_of(folder / "work", condition, desk, seed, size)
    except TrainingRefusal as refusal:
        figures = {"failure": str(refusal)}
    write_atomically(folder / "figures.json", json.dumps(figures).encode())
    shutil.rmtree(folder / "work", ignore_errors=True)
    return figures


def key(code: str, seed: int, size: Size, condition: Condition | None = None) -> str:
    """The name in the cache of what these decide."""
    parts = [code, seed, asdict(size), condition and asdict(condition)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


@functools.cache
def code_hash() -> str:
    """SHA-256 over `CODE` and the study's own, as they were when the study began."""
    files = [file for place in CODE for file in sorted((ROOT / place).rglob("*.py")) or [ROOT / place]]
    files += sorted((ROOT / "benchmarks" / "kto_study").glob("*.py"))
    return hashlib.sha256(b"".join(hashlib.sha256(file.read_bytes()).digest() for file in files)).hexdigest()


def share_done(folder: Path) -> float:
    """Of one trial, from 0 to 1."""
    if (folder / "figures.json").exists():
        return 1.0
    try:
        last = json.loads((folder / "work" / "progress.jsonl").read_text("utf-8").splitlines()[-1])
    except (OSError, IndexError, ValueError):
        return 0.0
    return float(TRAINING_SHARE * last["done"] / max(1, last["total"])) if last["phase"] == "training" else 0.0


def _told(figures: Mapping[str, Any]) -> str:
    if "failure" in figures:
        return str(figures["failure"])
    return f"{figures['good_share']:.1%} good, KL {figures['kl_nats']:.2f}, length × {figures['length_ratio']:.2f}"


def _alone() -> None:
    """In each process of the pool: one thread, and an end at once when somebody interrupts the study."""
    import torch

    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def main() -> int:
    options = _options()
    conditions = [one for one in CONDITIONS if not options.only or one.name in options.only]
    console, started = Console(stderr=True), time.monotonic()
    size = Size()
    pool = ProcessPoolExecutor(options.jobs, multiprocessing.get_context("spawn"), _alone)
    try:
        found, desks = study(conditions, options.seeds, size, options.cache, pool, console)
    except KeyboardInterrupt:
        pool.shutdown(wait=False, cancel_futures=True)
        sys.stderr.write("Interrupted: the same command goes on from here.\n")
        return 130
    pool.shutdown()
    result = Console(width=None if sys.stdout.isatty() else WIDTH)
    result.print(table(found, desks))
    for claim in claims_of(found["conditions"]):
        result.print(f"The paper on {claim}", highlight=False)
    told = {
        "study": "kto",
        "preset": PRESET,
        "size": asdict(size),
        "seeds": options.seeds,
        "base_models": {str(seed): figures for seed, figures in desks.items()},
        **found,
        "machine": machine(options.jobs),
        "seconds": round(time.monotonic() - started, 1),  # of this call: less where the cache had something
    }
    if len(conditions) == len(CONDITIONS) and tuple(options.seeds) == SEEDS:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(options.out, (json.dumps(told, indent=1) + "\n").encode())
    sys.stdout.write(json.dumps(told) + "\n")
    return 0


def _options() -> argparse.Namespace:
    names = [one.name for one in CONDITIONS]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.study_kto", description=__doc__.partition("\n")[0])
    parser.add_argument("--only", type=_names, default=[], help=f"some of {', '.join(names)}; with commas between")
    parser.add_argument("--seeds", type=_seeds, default=list(SEEDS), help="with commas between (default 1,2,3)")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="trials side by side")
    parser.add_argument("--cache", type=Path, default=ROOT / "var" / "study-kto", help="where finished trials are kept")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "study-kto.json")
    options = parser.parse_args()
    unknown = set(options.only) - set(names)
    if unknown:
        parser.error(f"--only: there is no condition {min(unknown)}: choose from {', '.join(names)}")
    if not 1 <= len(set(options.seeds)) <= 10 or len(set(options.seeds)) != len(options.seeds):
        parser.error("--seeds: give between 1 and 10 seeds, each once")
    if options.jobs < 1:
        parser.error(f"--jobs: {options.jobs} trials side by side are none: give 1 or more")
    return options


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def _seeds(text: str) -> list[int]:
    return [int(seed) for seed in text.split(",") if seed]


if __name__ == "__main__":
    sys.exit(main())
