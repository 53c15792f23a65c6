"""`make real-text`: KTO on real ratings of chat messages, against readers that know nothing.

A base model of half a million parameters learns the language of topical_chat, without labels, from conversations that
are never held out. At each seed KTO trains it on the ratings, and other conversations are held out. `--sweep` tries
every recipe on conversations of their own, on which the chosen one was found. The data are not part of the project:
without them, a sentence says so and nothing is measured.

Finished trials are cached under --cache, so an interrupted study resumes. Progress goes to stderr; a table and, in the
last line, all figures as one JSON object go to stdout. A whole study is also written to --out. Exit codes: 0 done, also
without data, 2 invalid arguments, 130 interrupted.
"""

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from app.durable import write_atomically
from benchmarks.desk_study.arguments import parser_of, require_valid
from benchmarks.desk_study.trials import ROOT, Figures, Trial, code_hash, finish, finished, key, pool_of, progress_bar
from benchmarks.machine import described
from benchmarks.real_text.figures import CANDIDATE, READERS, document
from benchmarks.real_text.ratings import FILE
from benchmarks.real_text.recipes import CHOSEN, RECIPES
from benchmarks.real_text.trial import MODEL, Size, base_figures, figures_of

#: Held-out parts of each seed; no part of two seeds. The base model sees none of them.
PARTS = {1: (1, 2), 2: (3, 4), 3: (5, 6)}
#: The held-out part of the sweep.
SWEEP_PARTS = (0,)
BASE_SEED = 1
#: The code that the figures depend on. A change to it invalidates the cache.
CODE = (
    "worker/training",
    "worker/evaluation",
    "worker/demo/muon.py",
    "client/thumbwheel/wire/recipe.py",
    "benchmarks/real_text/base.py",
    "benchmarks/real_text/ratings.py",
    "benchmarks/real_text/trial.py",
)


class Study:
    def __init__(self, data: Path, cache: Path, size: Size) -> None:
        self.data, self.cache, self.size = data, cache, size
        self.code = code_hash(*CODE)
        without = sorted({part for parts in PARTS.values() for part in parts})
        folder = cache / key(self.code, asdict(size), without)
        self.base = Trial("base model", folder, base_figures, (data, without, size, BASE_SEED))

    def run(
        self, chosen: Mapping[str, Sequence[int]], pool: Executor, console: Console
    ) -> dict[str, dict[int, Figures]]:
        """Returns the figures of the recipes `chosen` at their seeds; seed 0 is the sweep's."""
        trials = {(name, seed): self._trial(name, seed) for name, seeds in chosen.items() for seed in seeds}
        with progress_bar(console) as bar:
            finish(
                [self.base], pool, bar, "base model", lambda figures: f"{figures['loss_nats_per_token']} nats a token"
            )
            finish([*trials.values()], pool, bar, "trainings", summary_line)
        return {name: {seed: trials[name, seed].figures for seed in seeds} for name, seeds in chosen.items()}

    def _trial(self, name: str, seed: int) -> Trial:
        changes = {**RECIPES[name], "seed": seed}
        held_out = PARTS.get(seed, SWEEP_PARTS)
        folder = self.cache / key(self.code, asdict(self.size), held_out, changes)
        arguments = (self.data, self.base.folder / MODEL, held_out, self.size, changes)
        return Trial(f"seed {seed}, {name}", folder, figures_of, arguments)


def summary_line(figures: Figures) -> str:
    if "failure" in figures:
        return str(figures["failure"])
    readers = figures["dumb_readers"]
    words = f"{readers['best']} {readers[readers['best']]['value']:.3f}"
    return f"AUROC {figures['auroc']['value']:.3f}, {words}, in {figures['seconds'] / 60:.0f} minutes"


def main() -> int:
    options = _options()
    console, started = Console(stderr=True), time.monotonic()
    if not (options.data / FILE).is_file():
        console.print(f"There is no {options.data / FILE}: name the folder of the real feedback with --data.")
        return 0
    names = options.only or [CHOSEN]
    chosen: dict[str, Sequence[int]] = {name: [*([0] if options.sweep else []), *options.seeds] for name in names}
    if options.sweep and not options.only:
        chosen = {name: [0] for name in RECIPES} | {CHOSEN: [0, *options.seeds]}
    study, pool = Study(options.data, options.cache, Size()), pool_of(options.jobs)
    results = finished(pool, lambda: study.run(chosen, pool, console))
    if results is None:
        return 130
    report: dict[str, Any] = {
        "study": "real-text",
        "data": "topical_chat",
        "size": asdict(study.size),
        "base": study.base.figures,
        "recipe": RECIPES[CHOSEN],
        "recipes": {name: _recipe_document(name, by_seed) for name, by_seed in results.items()},
        "interval": "95 %: bootstrap over conversations; over_seeds: Student's t over the seeds",
        "machine": {
            **described("torch", "transformers", "scikit-learn"),
            "side_by_side": options.jobs,
            "threads_each": 1,
        },
        "seconds": round(time.monotonic() - started, 1),  # of this call, without cached trials
    }
    Console(width=None if sys.stdout.isatty() else 140).print(table(report["recipes"]))
    if not options.only and tuple(options.seeds) == tuple(PARTS):
        options.out.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(options.out, (json.dumps(report, indent=1) + "\n").encode())
    sys.stdout.write(json.dumps(report) + "\n")
    return 0


def _recipe_document(name: str, by_seed: Mapping[int, Figures]) -> dict[str, Any]:
    """Returns the figures of a recipe for programs; those of the sweep stand apart from those of the seeds."""
    sound = {seed: figures for seed, figures in by_seed.items() if "failure" not in figures}
    held_out = {seed: figures["held_out"] for seed, figures in sound.items()}
    reported = {seed: rows for seed, rows in held_out.items() if seed in PARTS}
    return {
        "changes": RECIPES[name],
        "trainings": {
            seed: {key: value for key, value in each.items() if key != "held_out"} for seed, each in by_seed.items()
        },
        "sweep": document({0: held_out[0]})["together"] if 0 in held_out else None,
        **(document(reported) if reported else {}),
    }


def table(recipes: Mapping[str, Any]) -> Table:
    """Returns the AUROC of all readers, and KTO's lead over them, with intervals over conversations."""
    rows = Table("recipe", "seed", title="Held-out AUROC by reader, and KTO's lead over it", title_justify="left")
    for name in (CANDIDATE, *READERS):
        rows.add_column(name.replace("_", " "), justify="right")
    for recipe, figures in recipes.items():
        lines = {"sweep": figures["sweep"], **figures.get("seeds", {}), "all": figures.get("together")}
        for seed, line in lines.items():
            if line is not None:
                cells = (_cell(line["auroc"][name], line["lead"].get(name)) for name in (CANDIDATE, *READERS))
                rows.add_row(recipe, seed, *cells)
    return rows


def _cell(figure: Mapping[str, Any], lead: Mapping[str, Any] | None) -> str:
    if lead is None:
        return f"{figure['value']:.3f} ({figure['low']:.3f}…{figure['high']:.3f})"
    return f"{figure['value']:.3f}, {lead['value']:+.3f} ({lead['low']:+.3f}…{lead['high']:+.3f})"


def _options() -> argparse.Namespace:
    parser = parser_of("real-text", __doc__.partition("\n")[0], "recipes", [*RECIPES])
    parser.add_argument(
        "--data", type=Path, default=ROOT.parent / "shared" / "data", help="folder with events/ (default %(default)s)"
    )
    parser.add_argument("--sweep", action="store_true", help="also try the recipes on the part that no seed holds out")
    options = parser.parse_args()
    options.seeds = options.seeds or [*PARTS]
    require_valid(parser, options, [*RECIPES])
    unknown = sorted(set(options.seeds) - set(PARTS))
    if unknown:
        parser.error(f"--seeds: {unknown[0]} has no held-out conversations. Choose from {', '.join(map(str, PARTS))}")
    return options


if __name__ == "__main__":
    sys.exit(main())
