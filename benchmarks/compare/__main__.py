"""`make compare`: eleven ways to use one set of feedback on the demo's support desk, on the same held-out tickets.

Every seed has its own base model, feedback and tickets. A study of several seeds first tries three settings of each arm
on a validation seed, and uses the best one on all others; a quick study has one seed and uses the default settings.
Finished trials are cached under --cache, so an interrupted study resumes, and a study in pieces (--only, --seeds) is
put together by running the whole in the end. Progress goes to stderr; a table and, in the last line, all figures as one
JSON object go to stdout. A study of all arms is also written to --out, with a plot beside it, unless that file holds
one of more seeds. Exit codes: 0 done, 2 invalid arguments, 130 interrupted.
"""

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from rich.console import Console
from rich.progress import Progress

from app.durable import write_atomically
from benchmarks.compare.arms import ARMS, UNTOUCHED, Arm, Budget, Setting, best_setting, settings_of
from benchmarks.compare.feedback import Size, World, base_model, world
from benchmarks.compare.figures import document
from benchmarks.compare.plot import svg
from benchmarks.compare.table import table
from benchmarks.compare.trial import figures_of
from benchmarks.desk_study.arguments import parser_of, require_valid
from benchmarks.desk_study.trials import (
    Figures,
    Trial,
    code_hash,
    finish,
    finished,
    key,
    pool_of,
    progress_bar,
)
from benchmarks.machine import described

SEEDS = (1, 2, 3, 4, 5)
VALIDATION_SEED = 0
#: The code that the figures depend on, without the arms, whose settings are part of each trial's key.
CODE = (
    "worker/training",
    "worker/generation",
    "worker/demo",
    "client/thumbwheel/wire/recipe.py",
    "benchmarks/compare/feedback.py",
    "benchmarks/compare/trial.py",
    "benchmarks/desk_study",
)
#: Width of the table if stdout is not a terminal: wide enough that no cell is cut.
WIDTH = 210

ArmAndBudget = tuple[Arm, Budget]
#: Figures of the trials by arm, budget and seed.
Results = dict[tuple[str, str, int], Figures]


@dataclass(frozen=True)
class SeedStart:
    world: World
    smaller_base: Path | None  # None if no arm needs it


class Study:
    """The trials of some arms. `run` returns the chosen settings and the figures of each trial."""

    def __init__(self, arms: Sequence[Arm], seeds: Sequence[int], size: Size, cache: Path) -> None:
        self.arms, self.seeds, self.size, self.cache = arms, seeds, size, cache
        self.code = code_hash(*CODE)
        self.parts: list[ArmAndBudget] = [(arm, budget) for arm in arms for budget in arm.budgets]

    def run(self, pool: Executor, console: Console, *, choose: bool) -> tuple[dict[ArmAndBudget, Setting], Results]:
        """Runs all trials; with `choose`, those of the validation seed first, which decide the settings."""
        with progress_bar(console) as bar:
            seeds = [*([VALIDATION_SEED] if choose else []), *self.seeds]
            starts = self._starts(seeds, pool, bar)
            chosen = {part: settings_of(part[0])[0] for part in self.parts}
            if choose:
                tried = {
                    part: [self._trial(part, setting, VALIDATION_SEED, starts) for setting in settings_of(part[0])]
                    for part in self.parts
                    if len(settings_of(part[0])) > 1
                }
                all_tried = [trial for attempts in tried.values() for trial in attempts]
                finish(all_tried, pool, bar, "settings", summary_line)
                for part, attempts in tried.items():
                    shares = [good_share(trial.figures) for trial in attempts]
                    chosen[part] = best_setting(settings_of(part[0]), shares)
            trials = {
                (part[0].name, part[1], seed): self._trial(part, chosen[part], seed, starts)
                for part in self.parts
                for seed in self.seeds
            }
            finish([*trials.values()], pool, bar, "trials", summary_line)
        return chosen, {name: trial.figures for name, trial in trials.items()}

    def world_folder(self, seed: int) -> Path:
        return self.cache / f"world-{key(self.code, seed, asdict(self.size))}"

    def _starts(self, seeds: Sequence[int], pool: Executor, bar: Progress) -> dict[int, SeedStart]:
        """Returns the world of each seed, making those that are missing, and the smaller base models."""
        task = bar.add_task("base models and feedback", total=None)
        folders = [self.world_folder(seed) for seed in seeds]
        steps = self.size.base_steps
        worlds = [pool.submit(world, folder, seed, self.size) for folder, seed in zip(folders, seeds, strict=True)]
        smaller = [
            pool.submit(base_model, folder / "smaller-base", seed, steps, smaller=True)
            if any(arm.smaller for arm in self.arms)
            else None
            for folder, seed in zip(folders, seeds, strict=True)
        ]
        starts = {
            seed: SeedStart(made.result(), base.result() if base else None)
            for seed, made, base in zip(seeds, worlds, smaller, strict=True)
        }
        bar.remove_task(task)
        return starts

    def _trial(self, part: ArmAndBudget, setting: Setting, seed: int, starts: Mapping[int, SeedStart]) -> Trial:
        arm, budget = part
        start = starts[seed]
        base = start.smaller_base if arm.smaller else start.world.base
        content = (arm.name, budget, dict(setting.changes), setting.shots)
        return Trial(
            f"seed {seed} {arm.name}, {setting.name}" + (", KTO's steps" if budget == "steps" else ""),
            self.cache / key(self.code, seed, asdict(self.size), *content),
            figures_of,
            (arm, budget, setting, start.world, base, seed, self.size),
            cost=cost_of(arm, budget),
        )


def cost_of(arm: Arm, budget: Budget) -> float:
    """Returns the approximate time of a trial, in those of KTO."""
    if arm.objective is None or arm.smaller:
        return 0.4
    return 0.5 if budget == "votes" and "steps" in arm.budgets else 1.0


def good_share(figures: Figures) -> float | None:
    return fmean(figures["outcomes"]["good"]) if "outcomes" in figures else None


def summary_line(figures: Figures) -> str:
    share = good_share(figures)
    if share is None:
        return str(figures["failure"])
    return f"{share:.1%} good, KL {fmean(figures['outcomes']['log_ratio']):.2f}, {figures['steps']} steps"


def arms_named(names: Sequence[str]) -> list[Arm]:
    """Returns the arms of these names, and the untouched one, whose length the others are compared with."""
    return [arm for arm in ARMS if not names or arm.name in names or arm == UNTOUCHED]


def main() -> int:
    options = _options()
    console, started = Console(stderr=True), time.monotonic()
    arms, size = arms_named(options.only), Size()
    choose = not options.quick
    pool = pool_of(options.jobs)
    study = Study(arms, options.seeds, size, options.cache)
    found = finished(pool, lambda: study.run(pool, console, choose=choose))
    if found is None:
        return 130
    chosen, results = found
    report = {
        "study": "compare",
        "quick": options.quick,
        "size": asdict(size),
        "settings": {f"{arm.name} at equal {budget}": setting.name for (arm, budget), setting in chosen.items()},
        "settings_chosen_on_seed": VALIDATION_SEED if choose else None,
        "interval": "Student's t over seeds, 95 %"
        if len(options.seeds) > 1
        else "over held-out tickets, 95 %: Wilson's for shares, bootstrap otherwise; without the variation of seeds",
        "seed_numbers": options.seeds,
        "seeds": len(options.seeds),
        "machine": {**described("torch", "transformers"), "side_by_side": options.jobs, "threads_each": 1},
        "seconds": round(time.monotonic() - started, 1),  # of this call, without cached trials
        "arms": document(results, options.seeds),
    }
    output = Console(width=None if sys.stdout.isatty() else WIDTH)
    output.print(table(report["arms"], len(options.seeds)))
    if len(arms) == len(ARMS) and seeds_in(options.out) <= len(options.seeds):
        write(options.out, report)
    sys.stdout.write(json.dumps(report) + "\n")
    return 0


def write(out: Path, report: Mapping[str, Any]) -> None:
    """Writes the figures to `out`, and the plot beside it."""
    seeds = report["seeds"]
    title = f"Support desk, {seeds} seed{'s' if seeds > 1 else ''}, {report['size']['tickets']:,} held-out tickets each"
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out.with_suffix(".svg"), svg(report["arms"], title))
    write_atomically(out, (json.dumps(report, indent=1) + "\n").encode())


def seeds_in(path: Path) -> int:
    """Returns the number of seeds of the study in `path`; 0 without one."""
    return int(json.loads(path.read_bytes())["seeds"]) if path.exists() else 0


def _options() -> argparse.Namespace:
    names = [arm.name for arm in ARMS]
    parser = parser_of("compare", __doc__.partition("\n")[0], "arms", names)
    parser.add_argument("--quick", action="store_true", help="seed 1 alone, with the default settings")
    options = parser.parse_args()
    if options.seeds is None:
        options.seeds = [SEEDS[0]] if options.quick else list(SEEDS)
    require_valid(parser, options, names)
    if VALIDATION_SEED in options.seeds:
        parser.error(f"--seeds: seed {VALIDATION_SEED} is for the choice of settings. Give others")
    return options


if __name__ == "__main__":
    sys.exit(main())
