"""`make study-kto`: KTO on the demo's support desk against those claims of its paper that fit a small machine.

Each condition is trained once per seed through a WORKDIR, as the service does it, and measured as the demo measures.
Finished trials are cached under --cache, so an interrupted study resumes. Progress goes to stderr; a table and, in the
last line, all figures as one JSON object go to stdout. A complete study is also written to --out, a part of one
(--only, --seeds) is not. Exit codes: 0 done, 2 invalid arguments, 130 interrupted.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from app.durable import write_atomically
from benchmarks.desk_study.arguments import parser_of, require_valid
from benchmarks.desk_study.trials import (
    Trial,
    code_hash,
    finish,
    finished,
    key,
    pool_of,
    progress_bar,
    summary_line,
)
from benchmarks.kto_study.conditions import CONDITIONS, Condition
from benchmarks.kto_study.desk import Size, made
from benchmarks.kto_study.summary import claims_of, document, machine, table
from benchmarks.kto_study.trial import PRESET, figures_of

SEEDS = (1, 2, 3)
#: The code that the figures depend on. A change to it invalidates the cache.
CODE = (
    "worker/training",
    "worker/demo",
    "worker/evaluation",
    "app/labels",
    "app/snapshots",
    "client/thumbwheel/wire/recipe.py",
    "benchmarks/kto_study",
    "benchmarks/desk_study",
)
#: Width of the table if stdout is not a terminal: wide enough that no cell is cut.
WIDTH = 140


def study(
    conditions: Sequence[Condition], seeds: Sequence[int], size: Size, cache: Path, pool: Executor, console: Console
) -> tuple[dict[str, Any], dict[int, dict[str, float]]]:
    """Runs each condition with each seed; returns the results, and the figures of each seed's base model."""
    code = code_hash(*CODE)
    with progress_bar(console) as bar:
        task = bar.add_task("support desks", total=None)
        folders = {seed: cache / f"desk-{key(code, seed, asdict(size))}" for seed in seeds}
        desks = dict(zip(seeds, pool.map(made, folders.values(), seeds, [size] * len(seeds)), strict=True))
        bar.remove_task(task)
        trials = {
            (condition.name, seed): Trial(
                f"seed {seed} {condition.name}",
                cache / key(code, seed, asdict(size), asdict(condition)),
                figures_of,
                (condition, desks[seed], seed, size),
            )
            for condition in conditions
            for seed in seeds
        }
        finish([*trials.values()], pool, bar, "trials", summary_line)
    results = {name_and_seed: trial.figures for name_and_seed, trial in trials.items()}
    return document(conditions, seeds, results), {seed: desk.base_figures for seed, desk in desks.items()}


def main() -> int:
    options = _options()
    conditions = [condition for condition in CONDITIONS if not options.only or condition.name in options.only]
    console, started = Console(stderr=True), time.monotonic()
    size = Size()
    pool = pool_of(options.jobs)
    found = finished(pool, lambda: study(conditions, options.seeds, size, options.cache, pool, console))
    if found is None:
        return 130
    results, desks = found
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
    parser = parser_of("study-kto", __doc__.partition("\n")[0], "conditions", names)
    parser.set_defaults(seeds=list(SEEDS))
    options = parser.parse_args()
    require_valid(parser, options, names)
    return options


if __name__ == "__main__":
    sys.exit(main())
