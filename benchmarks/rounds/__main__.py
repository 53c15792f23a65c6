"""`make study-rounds`: what makes later rounds of the loop better, on the demo's support desk.

In a round, the live model answers tickets, its users vote, a run learns from their votes, and its model becomes the
live one. Every seed has its own base model, users and held-out tickets, and every round equally many votes. Finished
trials are cached under --cache, so an interrupted study resumes, and conditions share the rounds that they have in
common. Progress goes to stderr; a table and, in the last line, all figures as one JSON object go to stdout. A whole
study is also written to --out, with a plot beside it; so are, with --finished, the figures of the trials that are
finished so far. Exit codes: 0 done, 2 invalid arguments, 130 interrupted.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from app.durable import write_atomically
from benchmarks.desk_study.arguments import parser_of, require_valid
from benchmarks.desk_study.trials import Figures, Trial, code_hash, finish, finished, key, pool_of, progress_bar
from benchmarks.machine import described
from benchmarks.rounds.conditions import BEST, CONDITIONS, Condition
from benchmarks.rounds.figures import Results, by_round, document
from benchmarks.rounds.plot import svg
from benchmarks.rounds.table import table
from benchmarks.rounds.trial import Size, base_figures, round_figures

SEEDS = (1, 2, 3, 4, 5)
QUICK_ROUNDS = 3
#: The code that the figures depend on. A change to it invalidates the cache.
CODE = (
    "worker/training",
    "worker/generation",
    "worker/demo",
    "app/labels",
    "app/snapshots/prompts/split.py",
    "client/thumbwheel/wire/recipe.py",
    "benchmarks/desk_study",
    "benchmarks/rounds/losses.py",
    "benchmarks/rounds/trial.py",
    "benchmarks/rounds/votes.py",
)
#: Width of the table if stdout is not a terminal: wide enough that no cell is cut.
WIDTH = 170


class Study:
    """The trials of some conditions, round after round: a round starts from the model of the one before."""

    def __init__(
        self, conditions: Sequence[Condition], seeds: Sequence[int], rounds: int, size: Size, cache: Path
    ) -> None:
        """Prepares the study; `rounds` and `seeds` limit those of the conditions."""
        self.conditions, self.size, self.cache = conditions, size, cache
        self.seeds = {each.name: seeds[: each.seeds] for each in conditions}
        self.rounds = {each.name: min(each.rounds, rounds) for each in conditions}
        self.code = code_hash(*CODE)

    def run(self, pool: Executor, console: Console) -> Results:
        """Runs the trials that are not finished and returns the figures of all."""
        with progress_bar(console) as bar:
            return self._results(lambda trials, title: finish(trials, pool, bar, title, summary_line))

    def finished(self) -> Results:
        """Returns the figures of the finished trials."""
        return self._results(lambda *_: None)

    def _results(self, take: Callable[[Sequence[Trial], str], None]) -> Results:
        """Returns the figures of the trials, round after round, which `take` gets to see before they are read.

        A chain ends with a round that failed, or that is not finished after that.
        """
        bases = {seed: self._base(seed) for seeds in self.seeds.values() for seed in seeds}
        take([*bases.values()], "base models")
        chains = {
            (condition.name, seed): [bases[seed]]
            for condition in self.conditions
            for seed in self.seeds[condition.name]
            if bases[seed].finished
        }
        for number in range(1, max(self.rounds.values()) + 1):
            trials: dict[Path, Trial] = {}
            for condition in self.conditions:
                for seed in self.seeds[condition.name]:
                    chain = chains.get((condition.name, seed), [])
                    if (
                        number <= self.rounds[condition.name]
                        and len(chain) == number
                        and "failure" not in chain[-1].figures
                    ):
                        trial = self._round(condition, number, seed, chain)
                        chain.append(trials.setdefault(trial.folder, trial))
            take([*trials.values()], f"round {number}")
            for chain in chains.values():
                if not chain[-1].finished:
                    chain.pop()
        return {
            (name, seed, number): trial.figures
            for (name, seed), chain in chains.items()
            for number, trial in enumerate(chain)
        }

    def _base(self, seed: int) -> Trial:
        folder = self.cache / key(self.code, asdict(self.size), seed)
        return Trial(f"seed {seed}, base model", folder, base_figures, (seed, self.size))

    def _round(self, condition: Condition, number: int, seed: int, chain: Sequence[Trial]) -> Trial:
        ways = [asdict(condition.way(each)) for each in range(1, number + 1)]
        return Trial(
            f"seed {seed}, round {number}, {condition.name}",
            self.cache / key(self.code, asdict(self.size), seed, ways),
            round_figures,
            (condition.way(number), number, [trial.folder for trial in chain], seed, self.size),
            cost=condition.way(number).recipe["epochs"] * condition.way(number).times_votes,
        )


def summary_line(figures: Figures) -> str:
    if "failure" in figures:
        return str(figures["failure"])
    drift = f", KL from base {figures['kl_base']:.2f}" if "kl_base" in figures else ""
    return f"{figures['good_share']:.1%} good, {figures['unclear_share']:.1%} garbled{drift}"


def main() -> int:
    options = _options()
    conditions = [each for each in CONDITIONS if not options.only or each.name in options.only or each == BEST]
    if options.quick and not options.only:
        conditions = [BEST]
    console, started = Console(stderr=True), time.monotonic()
    study = Study(conditions, options.seeds, options.rounds, Size(), options.cache)
    if options.finished:
        results = study.finished()
    else:
        pool = pool_of(options.jobs)
        found = finished(pool, lambda: study.run(pool, console))
        if found is None:
            return 130
        results = found
    figures = document(conditions, study.seeds, results)
    if BEST.name not in figures:
        sys.stderr.write(f"--finished: no round of {BEST.name} is finished in {options.cache}\n")
        return 2
    best = figures[BEST.name]
    report: dict[str, Any] = {
        "study": "rounds",
        "condition": BEST.name,
        "good_share": by_round(best, "good_share"),
        "length_ratio": by_round(best, "length_ratio"),
        "kl_nats": by_round(best, "kl_base"),
        "seeds": len(best["seeds"]),
        "size": asdict(Size()),
        "interval": "Student's t over seeds, 95 %; of one seed, Wilson's over tickets for the share of good replies",
        "machine": {**described("torch", "transformers"), "side_by_side": options.jobs, "threads_each": 1},
        "seconds": round(time.monotonic() - started, 1),  # of this call, without cached trials
        "conditions": figures,
    }
    output = Console(width=None if sys.stdout.isatty() else WIDTH)
    output.print(table(figures))
    if len(conditions) == len(CONDITIONS) and tuple(options.seeds) == SEEDS:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(options.out.with_suffix(".svg"), svg(figures))
        write_atomically(options.out, (json.dumps(report, indent=1) + "\n").encode())
    sys.stdout.write(json.dumps(report) + "\n")
    return 0


def _options() -> argparse.Namespace:
    names = [condition.name for condition in CONDITIONS]
    parser = parser_of("study-rounds", __doc__.partition("\n")[0], "conditions", names)
    parser.add_argument(
        "--quick", action="store_true", help=f"the best condition alone, with one seed and {QUICK_ROUNDS} rounds"
    )
    parser.add_argument("--finished", action="store_true", help="report the finished trials, and train nothing")
    parser.add_argument("--rounds", type=int, help="at most this many rounds")
    options = parser.parse_args()
    if options.seeds is None:
        options.seeds = [SEEDS[0]] if options.quick else list(SEEDS)
    require_valid(parser, options, names)
    options.rounds = options.rounds or (QUICK_ROUNDS if options.quick else BEST.rounds)
    if options.rounds < 1:
        parser.error(f"--rounds: expected 1 or more, got {options.rounds}")
    return options


if __name__ == "__main__":
    sys.exit(main())
