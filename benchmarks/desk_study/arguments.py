"""The command-line arguments that the studies have in common: parts, seeds, processes, cache and results."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from benchmarks.desk_study.trials import ROOT

MOST_SEEDS = 10


def parser_of(study: str, description: str, part: str, names: Sequence[str]) -> argparse.ArgumentParser:
    """Returns a parser for the study whose make target and file of results are called `study`.

    part    the plural of what --only names
    """
    parser = argparse.ArgumentParser(prog=f"make {study}", description=description)
    parser.add_argument("--only", type=_names, default=[], help=f"{part}, separated by commas: {', '.join(names)}")
    parser.add_argument("--seeds", type=_seeds, help="numbers of the seeds, separated by commas")
    parser.add_argument(
        "--jobs", type=int, default=min(2, os.cpu_count() or 1), help="number of parallel trials (default %(default)s)"
    )
    parser.add_argument("--cache", type=Path, default=ROOT / "var" / study, help="folder of finished trials")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / f"{study}.json")
    return parser


def require_valid(parser: argparse.ArgumentParser, options: argparse.Namespace, names: Sequence[str]) -> None:
    """Ends the process with an error that names the option, if a value is invalid."""
    unknown = set(options.only) - set(names)
    if unknown:
        parser.error(f"--only: unknown name {min(unknown)!r}. Choose from {', '.join(names)}")
    if not 1 <= len(set(options.seeds)) <= MOST_SEEDS or len(set(options.seeds)) != len(options.seeds):
        parser.error(f"--seeds: give between 1 and {MOST_SEEDS} seeds, each once")
    if options.jobs < 1:
        parser.error(f"--jobs: expected 1 or more, got {options.jobs}")


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def _seeds(text: str) -> list[int]:
    return [int(seed) for seed in text.split(",") if seed]
